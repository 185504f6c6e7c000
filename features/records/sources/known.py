"""All adapters, in the order in which detection tries them: those that ask for most come first."""

from features.records.adapter import Adapter
from features.records.sources.argus import ARGUS
from features.records.sources.aws import AWS_VPC
from features.records.sources.cicflowmeter import CICFLOWMETER
from features.records.sources.ecs import ECS_FLOWS, ECS_SURICATA, ECS_ZEEK, PACKETBEAT
from features.records.sources.netflow_sets import NF_SETS
from features.records.sources.nfdump import NFDUMP
from features.records.sources.nfstream import NFSTREAM
from features.records.sources.ocsf import OCSF_NETWORK
from features.records.sources.suricata import SURICATA_EVE
from features.records.sources.unsw import UNSW_NB15
from features.records.sources.zeek import ZEEK_CONN

ADAPTERS: tuple[Adapter, ...] = (
    ZEEK_CONN,
    SURICATA_EVE,
    CICFLOWMETER,
    NFSTREAM,
    UNSW_NB15,
    NF_SETS,
    ARGUS,
    AWS_VPC,
    NFDUMP,
    ECS_ZEEK,
    ECS_SURICATA,
    PACKETBEAT,
    ECS_FLOWS,
    OCSF_NETWORK,
)
