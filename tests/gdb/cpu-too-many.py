"""For gdb: enables the CPUs that the MADT names as absent, before the kernel reads it.

docs/ARCHITECTURE.md, "Start-up", has the command. The machine has 256 MiB of memory; the firmware's tables are
at its end.
"""

import struct

import gdb

END, SIZE = 256 << 20, 2 << 20
HEADER, CHECKSUM, ENTRIES = 8, 9, 44
LOCAL_APIC, FLAGS, ENABLED = 0, 4, 1

machine = gdb.selected_inferior()
gdb.execute("maintenance packet Qqemu.PhyMemMode:1")
memory = bytes(machine.read_memory(END - SIZE, SIZE))
at = memory.find(b"APIC")
while at >= 0:
    (length,) = struct.unpack_from("<I", memory, at + HEADER - 4)
    table = bytearray(memory[at : at + length])
    if ENTRIES < length < 4096 and sum(table) % 256 == 0:
        entry = ENTRIES
        while entry < length:
            if table[entry] == LOCAL_APIC and not table[entry + FLAGS] & ENABLED:
                table[entry + FLAGS] |= ENABLED
                print(f"the MADT at {END - SIZE + at:#x} names APIC id {table[entry + 3]} now")
            entry += table[entry + 1]
        table[CHECKSUM] = (table[CHECKSUM] - sum(table)) % 256
        machine.write_memory(END - SIZE + at, bytes(table))
    at = memory.find(b"APIC", at + 1)
gdb.execute("maintenance packet Qqemu.PhyMemMode:0")
