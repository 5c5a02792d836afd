"""The delegation service: proxies that users leave for transfers and jobs, over HTTPS as FTS3's REST interface has it.

`service` decides, `store` keeps, `app` is HTTP, `openapi` its description, `serving` runs it under gunicorn.
"""
