"""Counts the kernel's instructions of one interrupt or exception, function by function, in gdb.

VECTOR (14: a page fault; 0x40: the timer) comes from the environment, and so does NTH, which of them (100).
From the entry code's `common` on, that is without the two or three instructions of the vector's stub:

    VECTOR=14 cargo xtask debug --smp 1 --batch --ex "source docs/count-entry.py" -- null-call
"""

import os
import re

import gdb

VECTOR = int(os.environ.get("VECTOR", "14"), 0)
NTH = int(os.environ.get("NTH", "100"))

where = gdb.execute("info functions kernel::boundary::entry::common", to_string=True)
gdb.execute(f"hbreak *{re.search('0x[0-9a-f]+', where)[0]}", to_string=True)
left = NTH
while left > 0:
    gdb.execute("continue", to_string=True)
    stack = int(gdb.selected_frame().read_register("rsp"))
    vector = int.from_bytes(gdb.selected_inferior().read_memory(stack, 8).tobytes(), "little")
    left -= vector == VECTOR
gdb.execute("delete", to_string=True)

counts = {}
while (pc := gdb.selected_frame().pc()) >> 63:
    function = gdb.execute(f"info symbol {pc}", to_string=True).split(" + ")[0].split(" in section")[0].strip()
    counts[function] = counts.get(function, 0) + 1
    gdb.execute("stepi", to_string=True)
for function, count in counts.items():
    print(f"{count:6} {function}")
print(f"{sum(counts.values()):6} in all")
gdb.execute("kill")
