"""The dialects by name."""

from features.dialects.cicflowmeter import CICFLOWMETER_DIALECT
from features.dialects.dialect import Dialect
from features.dialects.nfstream import NFSTREAM_DIALECT
from features.dialects.zeek import ZEEK_DIALECT, ZEEK_JSON_DIALECT

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (CICFLOWMETER_DIALECT, NFSTREAM_DIALECT, ZEEK_DIALECT, ZEEK_JSON_DIALECT)
}
