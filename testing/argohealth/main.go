// Command argohealth reads a Kubernetes object as JSON from standard input, runs the health script named by
// its argument on it, and prints the health that Argo CD would show, with the message behind a tab. Argo CD
// runs such scripts in the same interpreter, with no more of its library and with the object in "obj".
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// As long as Argo CD lets a script run.
const patience = time.Second

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "argohealth:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: argohealth SCRIPT <OBJECT")
	}
	script, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var object map[string]any
	if err := json.NewDecoder(in).Decode(&object); err != nil {
		return fmt.Errorf("standard input is no object in JSON: %w", err)
	}
	health, err := evaluate(string(script), object)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	status := field(health, "status")
	switch status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
	default:
		return fmt.Errorf("%s: Argo CD knows no health %q", args[0], status)
	}
	fmt.Fprintf(out, "%s\t%s\n", status, field(health, "message"))
	return nil
}

func evaluate(script string, object map[string]any) (*lua.LTable, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage}, // must be the first
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
	} {
		call := lua.P{Fn: state.NewFunction(library.open), Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	health, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return nil, errors.New("the script does not return a table")
	}
	return health, nil
}

// value turns what JSON says into what a script sees: null is nil.
func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case float64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		table := state.CreateTable(len(from), 0)
		for _, element := range from {
			table.Append(value(state, element))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(from))
		for key, element := range from {
			table.RawSetString(key, value(state, element))
		}
		return table
	default:
		return lua.LNil
	}
}

func field(table *lua.LTable, name string) string {
	if text, ok := table.RawGetString(name).(lua.LString); ok {
		return string(text)
	}
	return ""
}
