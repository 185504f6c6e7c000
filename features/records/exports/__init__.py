"""NetFlow version 5, version 9 and IPFIX as packets inside a capture: messages, templates, records."""
