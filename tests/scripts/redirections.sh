# Redirections and here-documents.
cd $T; rm -rf redirections; mkdir redirections; cd redirections
echo first > file; echo second >> file; cat < file
cat <<END
here: $((6 * 7)) $(echo from a command) `echo and another`
	with a tab
END
cat <<'END'
quoted: $HOME `not run`
END
cat <<-END
	tabs taken off
	END
exec 3> third; echo to three >&3; exec 3>&-; cat third
{ echo a; echo b >&2; } > both 2>&1; cat both
echo hidden > /dev/null; echo $?
(echo x > /nowhere/x) 2>/dev/null; echo "status $?"
exec 4< file; read line <&4; echo "$line"; read line <&4; echo "$line"; exec 4<&-
echo 12345 > numbers; exec 5<> numbers; read n <&5; echo 678 >&5; exec 5>&-; cat numbers
set -C; (echo again > file) 2>/dev/null || echo "not overwritten"; echo forced >| file; cat file; set +C
wc -l < third
cat <<A - <<B file
not seen
A
seen
B
i=0; while read line; do i=$((i + 1)); echo "$i $line"; done <<END
alpha
beta
gamma
END
ls | sort
n=0; while [ $n -lt 300 ]; do echo $n; n=$((n + 1)); done > many; wc -l < many; tail -n 1 many
test -e /dev/stdin && echo there | cat /dev/stdin -
: > empty; [ -s empty ] || echo empty
cd ..; rm -r redirections
