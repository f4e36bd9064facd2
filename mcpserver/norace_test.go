//go:build !race

package mcpserver_test

// raceEnabled says that everything takes several times as long.
const raceEnabled = false
