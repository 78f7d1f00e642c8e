"""Found by Python at its start, since this folder is on the path of what is to be broken."""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
from chaos.sabotage import SABOTAGE, VARIABLE, Saboteur

sys.meta_path.insert(0, Saboteur(*SABOTAGE[os.environ[VARIABLE]]))
