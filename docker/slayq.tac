"""The daemon as a `.tac` file: `twistd -ny docker/slayq.tac`, in the folder of slay-config.json."""

from slayq_tw.tap import application as slayq

application = slayq("slay-config.json")
