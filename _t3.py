import sys, time, pickle; from datetime import date, timedelta
from dataclasses import replace
import pandas as pd, numpy as np
from data.simulate import *; from data.ledger import *
from training.config import *; from training.sample import *
def truncated(ledger, start):
    day=pd.Timestamp(start); t=dict(ledger.tables)
    t["invoices"]=t["invoices"][t["invoices"]["issued_on"]>=day]
    for n in ("payments","promises","disputes","write_offs"):
        t[n]=t[n][is_among(t[n]["invoice_id"],t["invoices"]["invoice_id"])]
    return replace(ledger,tables=t)
n,seed=int(sys.argv[1]),int(sys.argv[2])
sim=simulate_ledger(n,48,seed=seed)
for H in (6,12,24):
    led=truncated(sim.ledger, sim.start+timedelta(days=round((24-H)*365/12)))
    cfg=TrainingConfig.model_validate({"sample":{"test_dates":1,"min_history_days":60}})
    sp=build_sample(led,cfg)
    a=sp.test.rows.as_of.iloc[0]; tr=sim.true_pd(a).reindex(sp.test.rows.index).to_numpy()
    pickle.dump((sp,tr),open(f"/tmp/sp_{seed}_{H}.pkl","wb")); print(H,len(sp.train.rows),len(sp.test.rows),a,np.isnan(tr).sum(),flush=True)
