# Files: links, modes, names, archives, finding.
p() { pwd "$@" | sed "s,^$T,T,"; }
umask 022; rm -rf $T/files; mkdir $T/files; cd $T/files
echo text > a; ln a b; ln -s a c; ls -l | awk '{ print $1, $2, $9, $10, $11 }'
cat c; rm a; cat b; cat c 2>/dev/null || echo dangling; readlink c
chmod 640 b; stat -c '%a %F %h %s' b; umask 077; : > d; stat -c %a d; umask 022
mkdir -p x/y/z; rmdir x/y/z; ls -a x/y; mv x/y x/w; ls x; cp -r x copy; find copy | sort
mv b x/w/b; test -f x/w/b && echo moved; touch -d '2001-02-03 04:05:06' d; date -u -r d +%Y
mkdir tree; for i in 1 2 3 4 5 6 7 8 9; do mkdir tree/$i; seq $i 50 > tree/$i/numbers; echo "word $i data" > tree/$i/text; done
find tree -type f | sort | xargs cat | sha256sum
find tree -name text | sort | xargs grep -h data | tail -n 2
find tree -type f -exec grep -l 7 {} \; | sort | head -n 4
find tree -name numbers | sort | xargs -n 2 wc -l | tail -n 1
tar cf t.tar tree; tar tf t.tar | sort | head -n 3; mkdir out; tar xf t.tar -C out; diff -r tree out/tree && echo same
tar c tree | gzip -c | gunzip -c | tar t | wc -l
gzip -c t.tar > t.tar.gz; gunzip -c t.tar.gz | cmp - t.tar && echo equal
cat tree/*/text | sort | uniq -c | sort | wc -l
cp t.tar u.tar; cmp t.tar u.tar; truncate -s 5000 u.tar; stat -c %s u.tar; dd if=t.tar of=v bs=512 count=4 2>/dev/null; stat -c %s v
ls tree | while read d; do echo "$d $(cat tree/$d/text | wc -c)"; done | tail -n 2
p; cd tree/1; p; cd ..; p; cd $T/files; (cd tree; p); p
ln -s tree/1 one; cd one; p; p -P; cd ..; ls -d t*; echo t*/[1-3]/n*
du -a tree > /dev/null; echo $?; test c -ef b; echo $?; [ -L c ] && echo link
mktemp -d $T/files/XXXXXX > /dev/null; ls | wc -l; df $T > /dev/null; echo $?
sort -u tree/*/numbers | wc -l; comm -12 tree/1/numbers tree/2/numbers 2>/dev/null | wc -l
od -An -tx1 tree/1/text | head -n 1; sed 's/word/WORD/' tree/1/text; awk '{ n += $1 } END { print n }' tree/1/numbers
tr a-z A-Z < tree/2/text; cut -d' ' -f2 tree/3/text; head -c 5 tree/1/text; echo; tail -n 1 tree/9/numbers; wc tree/1/numbers
cd /; rm -r $T/files; ls $T/files 2>/dev/null || echo gone
