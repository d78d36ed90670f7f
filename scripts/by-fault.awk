# Sums up what the faults' tests measured, a line a fault. Reads lines as they are reported, passes on what it does not know.
function ms(t) { if (t ~ /µs$/) return t / 1000; if (t ~ /ms$/) return t + 0; return t * 1000 }
match($0, / [0-9]+ of [0-9]+ answers database-only, the slowest after /) {
    fault = substr($0, 1, RSTART - 2)
    split($0, word, /the slowest after | \(in calm |\); two-layer again after /)
    n[fault]++
    if (ms(word[2]) > slowest[fault]) { slowest[fault] = ms(word[2]); calm[fault] = ms(word[3]) }
    if (ms(word[4]) > back[fault]) back[fault] = ms(word[4])
    next
}
/^used again after / { n["reset, and sound again"]++; if (ms($4) > back["reset, and sound again"]) back["reset, and sound again"] = ms($4); next }
/^(killed|stopped) in mid-section, / { split($0, word, " after "); fault = word[1]; n[fault]++; if (ms(word[2]) > back[fault]) back[fault] = ms(word[2]); next }
{ print }
END {
    print ""
    printf "%-46s %8s %24s %16s\n", "FAULT", "TIMES", "SLOWEST ANSWER (CALM) ms", "BACK WITHIN ms"
    for (fault in n) printf "%-46s %8d %15.0f (%6.0f) %16.0f\n", fault, n[fault], slowest[fault], calm[fault], back[fault] | "sort"
}
