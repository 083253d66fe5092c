// containerd/cgroups, EventChan of version 2, for each cgroup there is, as containerd's shim uses it.
//
// The channel ends when the cgroup is empty or its event file is gone. It is asked for again while
// the cgroup is there.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	v2 "github.com/containerd/cgroups/v2"
)

var voice sync.Mutex

func say(format string, arguments ...interface{}) {
	voice.Lock()
	defer voice.Unlock()
	fmt.Printf(format+"\n", arguments...)
}

func watch(mount, root, directory string, started *sync.WaitGroup) {
	path := strings.TrimPrefix(directory, root)
	var last v2.Event
	for first := true; ; first = false {
		manager, err := v2.LoadManager(mount, strings.TrimPrefix(directory, mount))
		if err != nil {
			fail(err)
		}
		events, errors := manager.EventChan()
		if first {
			started.Done()
		}
		for open := true; open; {
			select {
			case event := <-events:
				if event != last {
					say("changed %s high %d max %d oom %d oom_kill %d", path, event.High, event.Max, event.OOM, event.OOMKill)
				}
				if event.OOMKill > last.OOMKill {
					say("oom %s %d", path, event.OOMKill-last.OOMKill)
				}
				last = event
			case err, alive := <-errors:
				if alive {
					fail(err)
				}
				open = false
			}
		}
		if _, err := os.Lstat(directory); os.IsNotExist(err) {
			say("removed %s", path)
			return
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	root := os.Args[1]
	mount := filepath.Dir(root)
	var started sync.WaitGroup
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.IsDir() && path != root {
			started.Add(1)
			go watch(mount, root, path, &started)
		}
		return err
	})
	if err != nil {
		fail(err)
	}
	started.Wait()
	say("ready")
	select {}
}
