#pragma once

#include <stddef.h>
#include <stdint.h>

/// CRC32C (Castagnoli, RFC 3720 appendix B.4) of `count` bytes, continued from `crc` (0 to begin).
/// Uses the processor's CRC instructions where it has them; the result is the same everywhere.
uint32_t nt_crc32c(uint32_t crc, const void *bytes, size_t count);
