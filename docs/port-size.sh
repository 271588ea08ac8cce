#!/bin/sh
# What the port to several CPUs with a giant lock took, in lines of code: without comments, blank lines and
# tests, by file and by folder; the latter is the table of docs/ARCHITECTURE.md.
#
#   docs/port-size.sh [COMMIT]
#
# "new": lines of files that are there for the port alone. "changed": lines of the other files whose last
# writer is a commit of the port, as git blame tells; what has been written anew since by others no longer
# counts, nor do lines that were taken out. The crate giantlock is new as a whole. Needs the history, so a
# shallow clone will not do.
set -eu
cd "$(git rev-parse --show-toplevel)"
at=$(git rev-parse --verify "${1:-HEAD}^{commit}")

# The port, from the last commit with a uniprocessor kernel alone. Commits that mix it with other things are
# left out; those of the program `profile`, of programs and of tests are no part of it.
last_up=757aebe
port=$(cat <<'END'
Add the feature smp: the boundary asks the giant lock
Let several CPUs run a container
Schedule threads on several CPUs
Let affinity calls choose among the CPUs that there are
Describe every CPU in /proc/cpuinfo
Ask for the giant lock with what the CPU keeps ready
Run the kernel on several CPUs
Look after what a wait for the lock leaves behind
Wake a halted waiter to tell that the lock is held for too long
Report a lock that is held for too long although its waiters have halted
Report a wait once, and the call that the holder is making
Read another CPU's user time until it stands still
Break the log's lock once, not for each record
Change the word of FUTEX_WAKE_OP in one step
Mark orphaned futexes in one step
Bind threads as they get ready; idle CPUs take what has not begun
Make room for the queues of all CPUs before they are made
Give the giant lock away with a barrier, and wait out of the way
Wake the next waiter alone with mcs and clh, too; model the barrier
Acknowledge an interrupt before asking for the lock
Count no CPU's time before the boot is over; enter the kernel before the others come
Keep nothing over a wait on any way in; measure exceptions too
END
)
commits=$(echo "$port" | while read -r subject; do
    [ -z "$subject" ] || git log --format='%H %s' "$last_up..$at" | grep -F " $subject" | cut -d ' ' -f 1
done)

for file in $(git ls-tree -r --name-only "$at" -- hardware/src kernel/src containers/src cpulocal/src giantlock/src |
    grep '\.rs$' | grep -vE '/tests/|/testing\.rs$'); do
    added=$(git log --diff-filter=A --format=%H "$last_up..$at" -- "$file")
    case $file in giantlock/*) kind=new ;; *) kind=changed ;; esac
    for commit in $commits; do [ "$added" != "$commit" ] || kind=new; done
    git blame --porcelain "$at" -- "$file" | awk -v file="$file" -v kind="$kind" -v commits="$commits" '
        BEGIN { split(commits, list); for (i in list) port[list[i]] = 1 }
        length($1) == 40 && /^[0-9a-f]/ { writer = $1 }
        /^\t/ && !/^\t[ \t]*(\/\/|$)/ { all++; if (kind == "new" || writer in port) ours++ }
        END { if (ours) print kind, file, ours, all }'
done | sort -k1,1r -k2 | awk '
    function row(what, new, changed) { printf "| `%s` | %s | %s |", what, new ? new : "", changed ? changed : "" }
    BEGIN { print "| file | new | changed | of |"; print "| --- | ---: | ---: | ---: |" }
    {
        if ($1 == "new") row($2, $3); else row($2, 0, $3)
        print "", $4, "|"
        folder = $2; sub("/[^/]*$", "", folder)
        if (folder ~ "^giantlock") folder = "giantlock/src"
        if (folder ~ "^kernel/src/(calls|files|program|signals)") folder = "kernel/src"
        sum[$1] += $3; sum[$1, folder] += $3
    }
    END {
        print "\n| folder | new | changed |\n| --- | ---: | ---: |"
        count = split("hardware/src kernel/src/arch kernel/src/boundary kernel/src containers/src cpulocal/src giantlock/src", order, " ")
        for (i = 1; i <= count; i++) { row(order[i], sum["new", order[i]], sum["changed", order[i]]); print "" }
        printf "| **all** | **%d** | **%d** |\n", sum["new"], sum["changed"]
    }'
