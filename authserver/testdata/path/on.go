package authserver_test

import "github.com/gatehouse-mcp/gatehouse/shared/pathrecorder"

const recording = true

func record(do func()) []string { return pathrecorder.Record(do) }
