"""The web portal: MyProxy in a browser; a client of the server like any other, without rights of its own.

`config` is the configuration, `desk` what is asked of the server, `store` what outlasts a request, `guard` what
holds for every request, `views` and its neighbours the pages, `app` puts them together, `serving` runs them.
"""
