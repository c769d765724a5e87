#include "CNeedletailMessages.h"
