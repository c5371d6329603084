# Copies INPUT to OUTPUT, with imports that name the file as the package
# skyray/_protos holds it. In the process-wide descriptor pool of protobuf a
# plain "common.proto" would clash with anybody else's.
file(READ ${INPUT} text)
string(REGEX REPLACE "import \"([a-z_]+\\.proto)\"" "import \"skyray/_protos/\\1\"" text "${text}")
file(WRITE ${OUTPUT} "${text}")
