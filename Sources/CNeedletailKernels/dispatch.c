#include "CNeedletailKernels.h"
