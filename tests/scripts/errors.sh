# Exit codes, `set -e`, what cannot be run, traps of signals: not of INT, HUP and QUIT, which who runs the tests may ignore.
sh -c 'exit 7'; echo $?
sh -c 'kill -TERM $$'; echo $?
sh -c 'kill -KILL $$' ; echo $?
nonexistent-command 2>/dev/null; echo $?
$T 2>/dev/null; echo $?
echo 'echo no bits' > $T/noexec; $T/noexec 2>/dev/null; echo $?
printf '#!/bin/sh\necho "script ${0##*/} $*"\nexit 9\n' > $T/script; chmod +x $T/script; $T/script a 'b c'; echo $?
printf '#!/no/such/interpreter\n' > $T/script; chmod +x $T/script; $T/script 2>/dev/null; echo $?
printf 'echo no line with an interpreter\n' > $T/script; $T/script
rm $T/noexec $T/script
(set -e; false; echo not reached); echo $?
(set -e; false || true; if false; then :; fi; echo reached)
(set -u; echo "$undefined" ) 2>/dev/null; echo "$?"
! true; echo $?
true && false || echo last
sh -c 'trap "echo got TERM" TERM; kill -TERM $$; echo after'
trap '' USR1; kill -USR1 $$; echo ignored; trap - USR1
trap 'echo got USR1' USR1; kill -USR1 $$; echo after USR1; trap - USR1
(trap 'echo bye; exit 3' EXIT; exit 4); echo $?
sh -c 'trap "exit 6" ALRM; kill -ALRM $$; echo not reached'; echo $?
sh -c 'trap "echo usr2" USR2; (kill -USR2 $$); :; echo done'
(exit 256); echo $?
(exit 255); echo $?
ls /nonexistent 2>/dev/null; echo $?
cat /nonexistent 2>&1 | wc -l
cd /nonexistent 2>/dev/null || echo "cannot"
