# Functions, arithmetic, quoting, expansion, conditions, loops.
fib() { if [ $1 -lt 2 ]; then echo $1; else echo $(( $(fib $(($1 - 1))) + $(fib $(($1 - 2))) )); fi; }
fib 9
greet() { local name=$1; shift; echo "hello $name, $# more: $*"; return 5; }
greet world a 'b c' d; echo $?
x='a  b'; echo $x; echo "$x"; echo '$x'
for i in a b 'c d'; do echo "<$i>"; done
case abc in x*) echo no;; a?c) echo yes;; *) echo other;; esac
path=/usr/local/lib/file.tar.gz
echo ${path##*/} ${path%/*} ${path%%.*} ${path#*.} ${#path} ${none:-default} ${path:+set}
set -- 1 2 3 4; while [ $# -gt 0 ]; do printf '%s ' "$1"; shift; done; echo
n=10; until [ $n -le 7 ]; do n=$((n - 1)); [ $n = 8 ] && continue; echo $n; done
echo $((0x1f + 010 * 3)) $((7 % 4)) $((1 << 20)) $((5 > 3 && 2 > 1))
[ -d /tmp ] && [ ! -f /tmp ] && echo directory
test 5 -gt 3 -a "a" != "b"; echo $?
printf '%5d|%-5s|%05.1f|%x\n' 42 ab 3.14159 255
IFS=:; set -- $(echo a:b:c); echo "$#"; unset IFS
(x=inner; echo $x); echo "$x"
eval 'y=$((1 + 1))'; echo $y
trap 'echo leaving' EXIT
type cd | head -c 2; echo
readonly r=1; (r=2) 2>/dev/null; echo $?
unset none; echo "${none-unset}"; (: ${none:?}) 2>/dev/null; echo "$?"
echo {a,b} | cat | wc -w
for i in $(seq 3); do for j in $(seq 3); do [ $j = 2 ] && break; echo $i$j; done; done
