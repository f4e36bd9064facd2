// Package pathrecorder records which packages a goroutine enters. It exists only in the overlay of
// TestThePathOfATokenRequest.
package pathrecorder

import (
	"bytes"
	"runtime"
	"sync"
)

var (
	mu       sync.Mutex
	recorded string // the goroutine; empty: none
	stack    []string
	path     []string
)

// Record calls do and returns the packages in the order in which they were entered from another
// one.
func Record(do func()) []string {
	mu.Lock()
	recorded, stack, path = goroutine(), nil, nil
	mu.Unlock()
	do()
	mu.Lock()
	defer mu.Unlock()
	recorded = ""
	return path
}

// Enter begins a function of a package; the function that it returns ends it.
func Enter(pkg string) (leave func()) {
	mu.Lock()
	defer mu.Unlock()
	if recorded == "" || goroutine() != recorded {
		return func() {}
	}
	from := stack
	if len(from) == 0 { // called by the HTTP library, after what came last
		from = path
	}
	if len(from) == 0 || from[len(from)-1] != pkg {
		path = append(path, pkg)
	}
	stack = append(stack, pkg)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if len(stack) > 0 {
			stack = stack[:len(stack)-1]
		}
	}
}

// goroutine names the goroutine that runs.
func goroutine() string {
	b := make([]byte, 64)
	b = b[:runtime.Stack(b, false)]
	name, _, _ := bytes.Cut(bytes.TrimPrefix(b, []byte("goroutine ")), []byte(" "))
	return string(name)
}
