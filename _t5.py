import pickle, itertools, sys, time
from datetime import date; from pathlib import Path
import numpy as np, lightgbm as lgb
import training.fit as F
from data.sources import read_ledger; from data.simulate import simulate_ledger
from training.config import *; from training.sample import *; from training.evaluate import *
S=Path("data/samples"); splits={}
us=read_ledger(S/"receivables_us_2019.toml",today=date(2026,1,1)).ledger
c=read_config(S/"receivables_us_2019_config.toml")
for nm,upd in {"us":{}, "us2":{"test_dates":3}, "us_g120":{"gap_days":120}, "us_h14":{"min_history_days":14}}.items():
    cc=c.model_copy(update={"sample":c.sample.model_copy(update=upd)}); splits[nm]=build_sample(us,cc)
ibm=read_ledger(S/"receivables_ibm_sample.toml",today=date(2026,1,1)).ledger
splits["ibm"]=build_sample(ibm,read_config(S/"receivables_ibm_sample_config.toml"))
for seed in (3,4): splits[f"sim{seed}"]=build_sample(simulate_ledger(2000,36,seed=seed).ledger,TrainingConfig())
pickle.dump(splits,open("/tmp/splits.pkl","wb"))
for k,sp in splits.items():
    p=F.plain_lightgbm(sp.train).predict_pd(sp.test.features.to_numpy()); f=figures(p,sp.test.label); print("plain",k,len(sp.train.rows),len(sp.test.rows),f"{f['auc']:.4f} {f['brier']:.4f} const {f['brier_constant']:.4f}")
