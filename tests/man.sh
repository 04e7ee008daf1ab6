#!/usr/bin/env bash
# man.sh - the man page and the README agree with the program's tables: options, aliases, exit statuses.
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
failed=0
page=docs/man/ring3.1

# second and first column of a row, from the tables
options=$(sed -n 's/^OPTION("\([^"]*\)".*/\1/p' src/cli/options.def | sort)
aliases=$(sed -n 's/^OPTION("[^"]*", *"\([^"]\+\)".*/\1/p' src/cli/options.def | sort)
documented=$(sed -n '/^\.SH OPTIONS/,/^\.SH CONSOLE/p' "$page" | sed 's/\\-/-/g' | grep -E '^\.B[IR]? --' |
    sed -E 's/^\.B[IR]? --([a-z0-9-]+).*/\1/' | sort)
documented_aliases=$(sed -n '/^\.SH OPTIONS/,/^\.SH CONSOLE/p' "$page" | sed 's/\\-/-/g' | grep -E '^\.B[IR]? --' |
    grep -oE '[ P]-[a-z]+' | sed -E 's/^..//' | sort)
is 'options in the man page' "$options" "$documented"
is 'aliases in the man page' "$aliases" "$documented_aliases"

statuses=$(sed -n 's/^STATUS([A-Z_]*, *\([0-9]*\),.*/\1/p' src/cli/exit.def)
is 'exit statuses in the man page' "$statuses" \
    "$(sed -n '/^\.SH EXIT/,/^\.SH SECURITY/p' "$page" | sed -n 's/^\.B \([0-9]\+\)$/\1/p')"
is 'exit statuses in the README' "$statuses" "$(sed -nE 's/^\| ([0-9]+)( \+ N)? \|.*/\1/p' README.md)"

meanings() { sed -n 's/^STATUS([A-Z_]*, *[0-9]*, *"\(.*\)").*/\1/p' src/cli/exit.def; }
page_text=$(sed -E 's/^\.[A-Z]+ //; s/\\-/-/g; s/ \./\./' "$page" | tr '\n' ' ' | tr '[:upper:]' '[:lower:]')
missing=$(meanings | tr '[:upper:]' '[:lower:]' | while read -r text; do
    grep -qF -- "$text" <<<"$page_text" || echo "$text"
done)
is 'meanings of exit statuses in the man page' '' "$missing"

verbs=$(sed -n 's/^VERB("\([a-z]*\)".*/\1/p' src/cli/verb.def)
is 'verbs in the man page' "$verbs" "$(sed -n '/^\.SS Verbs/,/^\.SH OPTIONS/p' "$page" | sed -n 's/^\.B \([a-z]*\)$/\1/p')"

if command -v groff >/dev/null; then
    is 'the man page is well-formed' '' "$(groff -man -Tutf8 -ww -z "$page" 2>&1)"
else skip 'the man page is well-formed' 'no groff'; fi
exit $failed
