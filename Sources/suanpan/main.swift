import ClearingModel
import Glibc

Limits.check()
exit(Program.run())
