# Background jobs, wait, kill, and many processes.
for i in 1 2 3; do (exit $i) & pids="$pids $!"; done
for p in $pids; do wait $p; echo $?; done
sleep 100 & kill $!; wait $!; echo $?
sleep 100 & kill -KILL $!; wait $!; echo $?
(sleep 0; echo from the background) & wait; echo waited
sh -c 'exit 42' & wait $!; echo $?
wait 99999; echo $?
kill -0 $$; echo $?
kill -0 999999 2>/dev/null; echo $?
(echo in the subshell; exit 2) & wait $!; echo $?
i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i + 1)); done; echo $i
i=0; while [ $i -lt 100 ]; do (exit $((i % 7))) ; s=$((s + $?)); i=$((i + 1)); done; echo $s
i=0; while [ $i -lt 30 ]; do true & i=$((i + 1)); done; wait; echo all
i=0; while [ $i -lt 200 ]; do x=$(echo $i); i=$((x + 1)); done; echo $i
mkdir $T/jobs; for i in 1 2 3 4 5 6 7 8; do (seq $((i * 1000)) > $T/jobs/$i) & done; wait; (cd $T/jobs; wc -l * | sort); rm -r $T/jobs
rm -f $T/ready $T/go
{ while [ ! -e $T/go ]; do sleep 0.01; done; echo later; } & echo sooner; : > $T/go; wait
(trap 'echo child got TERM; exit 0' TERM; : > $T/ready; while :; do sleep 0.01; done) &
while [ ! -e $T/ready ]; do sleep 0.01; done; kill $!; wait $!; echo $?
rm $T/ready $T/go
exec sh -c 'echo the last program'
