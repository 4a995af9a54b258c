"""Bad inputs 1 to 60: what a stranger's model, data, name or text may try, and what must come of it.

`python -m pytest tests/strangers -v` prints the table: every test begins with its number.

     1-15  models: pickles, code in configurations, chat templates, broken and boundless files
    16-26  data sets, recipes, archives, folders
    27-28  studies that somebody else has touched, names
    29-34  what the report, Markdown, CSV and the terminal show
    35-37  secrets and permissions
    38-40  doors that do not exist: no server, no Ray, no distributed launch
    41-46  sizes, tables, labels, the hub, special tokens, texts that give orders

In every test a canary file must not appear and nothing may be asked on standard input.
"""
