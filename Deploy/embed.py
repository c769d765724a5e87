"""Prints a file as a C array: embed.py FILE SYMBOL."""

import sys

data = open(sys.argv[1], "rb").read()
symbol = sys.argv[2]
print('#include "CNeedletailMessages.h"\n')
print(f"const size_t {symbol}_size = {len(data)};")
print(f"const uint8_t {symbol}[] = {{")
for start in range(0, len(data), 24):
    print("    " + ",".join(str(byte) for byte in data[start : start + 24]) + ",")
print("};")
