import pickle, numpy as np, training.fit as F, time
from training.config import *; from training.evaluate import *
splits=pickle.load(open("/tmp/splits.pkl","rb"))
base={}
cfgs={"base":{}, "leaves15":{"num_leaves":15},"leaves4":{"num_leaves":4},"min20":{"min_rows_in_leaf":20},"min80":{"min_rows_in_leaf":80},"l2_5":{"l2":5.},"ff.3":{"feature_fraction":.3},"ff.8":{"feature_fraction":.8},"lr.015":{"learning_rate":.015,"max_trees":1200},"l15min20":{"num_leaves":15,"min_rows_in_leaf":20,"l2":5.}}
for n,c in cfgs.items():
    out=[]; t=time.time()
    for k,sp in splits.items():
        ps=[]
        for seed in (7,8):
            cfg=TrainingConfig(seed=seed,model=ModelChoices(**c))
            m=F.fit_model(sp.train,cfg).model; ps.append(m.predict_pd(sp.test.features.to_numpy()))
        a=np.mean([auc(p,sp.test.label) for p in ps]); b=np.mean([figures(p,sp.test.label)["brier"] for p in ps]); bag=auc(np.mean(ps,0),sp.test.label)
        out.append(f"{k} {a:.4f}/{b:.4f}/bag{bag:.4f}")
    print(f"{n:9s}", " | ".join(out), f"{time.time()-t:.0f}s",flush=True)
