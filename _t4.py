import sys, time, pickle
import numpy as np, pandas as pd
import training.fit as F
from training.config import *; from training.evaluate import *
def run(sp,tr,cfg,contri=None,tag=""):
    orig=F._parameters
    if contri is not None:
        F._parameters=lambda c: orig(c)|{"feature_contri":contri}
    t=time.time(); f=F.fit_model(sp.train,cfg); F._parameters=orig
    p=f.model.predict_pd(sp.test.features.to_numpy()); r=figures(p,sp.test.label)
    oof=f.model.calibration(f.out_of_fold_margin)
    # vs truth: E slope using truth as soft label
    print(f"{tag:22s} trees {f.n_trees} {f.model.calibration.kind:8s} gini {r['gini']:.4f} ceil {2*auc(tr,sp.test.label)-1:.4f} slope {r['calibration_slope']:.3f} soft-slope {calibration_line(p,tr)[0]:.3f} mean {p.mean():.4f} true {tr.mean():.4f} corr {pd.Series(p).corr(pd.Series(tr),method='spearman'):.4f} oofgini {figures(oof,sp.train.label)['gini']:.4f} {time.time()-t:.0f}s",flush=True)
    return f
def unstable(sp,limit=.25):
    rows=sp.train.rows; d=sorted(rows.as_of.unique()); k=max(len(d)//3,1)
    a,b=rows[rows.as_of.isin(d[:k])],rows[rows.as_of.isin(d[-k:])]
    ps={c: psi(a[c].to_numpy(),b[c].to_numpy()) for c in sp.train.features}
    bad=[c for c,v in ps.items() if v>limit]; return bad,[0.0 if c in bad else 1.0 for c in ps]
if __name__=="__main__":
    for seed in (1,2):
      for H in (6,12,24):
        sp,tr=pickle.load(open(f"/tmp/sp_{seed}_{H}.pkl","rb")); print(seed,H)
        run(sp,tr,TrainingConfig(),tag="base")
        bad,c=unstable(sp); print(bad)
        run(sp,tr,TrainingConfig(),c,"drop unstable .25")
