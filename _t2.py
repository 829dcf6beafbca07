import os, httpx; from serving.process import running_service; from pathlib import Path
with running_service({**os.environ,"OBLIGOR_STORE":"demo/store"},3399,Path("/tmp/s.log")) as u:
    for m,p in (("GET","/v1/decisions/none"),("GET","/v1/nowhere"),("PUT","/v1/decisions"),("POST","/v1/decisions"),("GET","/nowhere"),("GET","/v1/customers/x%2Fy/decisions"),("GET","/v1/decisions/")):
        r=httpx.request(m,u+p); print(m,p,r.status_code,r.headers.get("content-type"),r.text[:150])
