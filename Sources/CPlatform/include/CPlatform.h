#pragma once

#include "CPlatformProcess.h"
