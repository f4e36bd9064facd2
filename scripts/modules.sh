# shellcheck shell=bash
# The modules of the repository, those that others need first; scripts source this.
MODULES=(migrations shared mcpserver . e2e)
OURS=github.com/gatehouse-mcp/gatehouse
