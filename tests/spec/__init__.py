"""Spec tests: a small table in, a table out; docs/_ext/specs_page.py prints them.

The module's docstring is the page's title and introduction. A test's name is the title
of its section, its docstring (one or two sentences) the paragraph below; each ASCII
table is a text of several lines assigned to a name that a reader understands
(``invoices``, ``payments``, ``expected``) and is printed under that name, in order. A
table at module level is printed once, before the sections. `tests.ascii.spec` compares.
"""
