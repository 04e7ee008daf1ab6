# table.awk - the table of bench/guest.sh.  Input: class|name|subject|wall|cpu|inside|hash|status, a line per run,
# times in us (openssl: ps per operation).  -v subjects="native bt tcg" -v markdown=0|1
{
    key = $2 SUBSEP $3
    if (!($2 in class)) { class[$2] = $1; order[++rows] = $2 }
    if ($8 != 0) { bad[key] = $8 < 0 ? $7 : "status " $8; next }
    if ($3 == "native" && !($2 in want)) want[$2] = $7
    if (($2 in want) && $7 != want[$2]) bad[key] = "output differs"
    if (!(key in wall) || $4 + 0 < wall[key]) wall[key] = $4 + 0
    if (!(key in cpu) || $5 + 0 < cpu[key]) cpu[key] = $5 + 0
    # The guest's clock against the host's; 5 ms for markers and scheduling, which are the host's only.
    off = $6 - $4; off = off < 0 ? -off : off
    if ($3 != "native" && off > 5000 + 0.02 * $4) { drift[$3]++; if (off > worst[$3]) worst[$3] = off }
}
function cell(text, i) { printf markdown ? (i == 1 ? "| %s |" : " %s |") : (i == 1 ? "%-26s" : " %11s"), text }
function row(n, cells, i) { for (i = 1; i <= n; i++) cell(cells[i], i); print "" }
function ratio(a, b) { return a > 0 && b > 0 ? sprintf("%.2f", a / b) : "-" }
function seconds(us) { return us > 0 ? sprintf("%.3f", us / 1e6) : "-" }
function add(group, column, a, b) {
    if (!(a > 0 && b > 0)) return
    logs[group, column] += log(a / b); n[group, column]++
    if (a / b > most[group, column] || n[group, column] == 1) { most[group, column] = a / b }
    if (a / b < least[group, column] || n[group, column] == 1) { least[group, column] = a / b }
}
function mean(group, column) { return n[group, column] ? sprintf("%.2f", exp(logs[group, column] / n[group, column])) : "-" }
END {
    count = split(subjects, s, " ")
    title["int"] = "user integer"; title["float"] = "float, SIMD, crypto"; title["kernel"] = "kernel work"
    title["jit"] = "JIT"; title["boot"] = "default guest"
    c = 1; head[1] = "work"
    for (i = 1; i <= count; i++) head[++c] = s[i]
    for (i = 1; i <= count; i++) if (s[i] != "native" && s[i] != "tcg") {
        head[++c] = s[i] "/native"; num[c] = s[i]; den[c] = "native"; time[c] = "wall"
        head[++c] = "tcg/" s[i]; num[c] = "tcg"; den[c] = s[i]; time[c] = "wall"
        head[++c] = "cpu " s[i] "/n"; num[c] = s[i]; den[c] = "native"; time[c] = "cpu"
        head[++c] = "cpu tcg/" s[i]; num[c] = "tcg"; den[c] = s[i]; time[c] = "cpu"
    }
    print ""; row(c, head)
    if (markdown) { printf "|---|"; for (i = 2; i <= c; i++) printf "---:|"; print "" }
    for (r = 1; r <= rows; r++) {
        w = order[r]; g = class[w]
        if (g != group) { group = g; groups[++ngroups] = g; if (!markdown) print "-- " title[g] }
        out[1] = w
        for (i = 1; i <= count; i++) out[1 + i] = (w, s[i]) in bad ? bad[w, s[i]] : seconds(wall[w, s[i]])
        for (i = 2 + count; i <= c; i++) {
            a = time[i] == "wall" ? wall[w, num[i]] : cpu[w, num[i]]
            b = time[i] == "wall" ? wall[w, den[i]] : cpu[w, den[i]]
            out[i] = ratio(a, b); add(g, i, a, b)
        }
        row(c, out)
    }
    print ""
    for (i = 1; i <= count; i++) head[1 + i] = ""
    head[1] = "geometric mean (worst)"; row(c, head)
    if (markdown) { printf "|---|"; for (i = 2; i <= c; i++) printf "---:|"; print "" }
    for (k = 1; k <= ngroups; k++) {
        g = groups[k]; out[1] = title[g]
        for (i = 1; i <= count; i++) out[1 + i] = ""
        for (i = 2 + count; i <= c; i++) {
            x = den[i] == "native" ? most[g, i] : least[g, i]
            out[i] = mean(g, i) (n[g, i] ? sprintf(" (%.1f)", x) : "")
        }
        row(c, out)
    }
    for (x in drift) printf "\nGuest clock of %s: %d of its runs differ from the host's by more than 2 %% + 5 ms, at most %d ms\n",
        x, drift[x], worst[x] / 1000
    for (key in bad) { split(key, p, SUBSEP); printf "\nFAILED: %s under %s: %s\n", p[1], p[2], bad[key]; failed = 1 }
    exit failed
}
