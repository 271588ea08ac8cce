# Pipes, and what shells make of the statuses at their ends.
seq 1 2000 | grep 7 | wc -l
seq 1 500 | sort -rn | head -n 3
yes | head -n 5
yes abc | head -c 100000 | wc -c
echo one two three | { read a b; echo "$b:$a"; }
true | false; echo $?
false | true; echo $?
seq 5 | while read n; do echo $((n * n)); done | tail -n 2
printf 'b\na\nc\na\n' | sort | uniq -c | sort -rn
cat /dev/null | wc -c
seq 100000 | tail -n +99999
# More processes in one pipe than there are CPUs.
seq 9 | cat | cat | cat | cat | cat | cat | cat | cat | tr 1-9 a-i | tr -d '\n'; echo
(exit 3) | (cat; exit 4); echo $?
echo to-stderr 2>&1 1>&2 | cat
{ echo out; echo err >&2; } 2>&1 | sort
head -c 300000 /dev/zero | tr '\0' x | fold -w 1000 | wc -l
# Whoever writes to nobody ends, and the shell goes on.
(yes; echo "yes ended with $?" >&2) 2>/dev/null | head -n 1
echo "$(echo nested $(echo command $(echo substitution)))"
