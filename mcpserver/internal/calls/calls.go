// Package calls records tool calls: who called what, for whom, and with which outcome.
//
// Records are written in batches to a chain of their own, some milliseconds after the response. A
// call that writes is recorded before it is forwarded, or not forwarded. Lost records are counted,
// and the chain has a record of the gap.
package calls

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// Actions of the records.
const (
	ActionBegin = "tool.begin" // a call that writes is about to be forwarded
	ActionCall  = "tool.call"  // a call and its outcome
	ActionGap   = "tool.gap"   // records of calls are missing, or may be
)

// Errors of recording a call before it is forwarded.
var (
	errDown   = errors.New("the records of tools' calls cannot be written")
	errFull   = errors.New("too many records of tools' calls wait to be written")
	errSlow   = fmt.Errorf("the record of the call was not written within %s", beginWait)
	errClosed = errors.New("the records of tools' calls are closed")
)

// Begin writes the record of a call that is about to be forwarded.
func (l *Log) Begin(ctx context.Context, r *guard.Record, name string) error {
	err := l.wait(ctx, event(r, name, ActionBegin))
	if err != nil {
		l.mu.Lock()
		l.unrecorded++
		l.mu.Unlock()
	}
	return err
}

// Record queues the record of a call and its outcome, without waiting for the store.
func (l *Log) Record(r *guard.Record, name string) {
	if r.Decision.Kind != guard.KindTool || !l.keeps(r) {
		return
	}
	l.offer(event(r, name, ActionCall))
}

// keeps reports whether a call is recorded, by the setting of its tenant.
func (l *Log) keeps(r *guard.Record) bool {
	return r.Decision.Write || r.Behind != "" || r.Refused != "" || l.keep(r.Caller.TenantID) == KeepAll
}

// mostDetail is the length of a record's detail, apart from long reasons.
const mostDetail = 160

// event returns the record of a call.
func event(r *guard.Record, name, action string) audit.Event {
	e := audit.Event{
		Time: r.At, Actor: "user:" + r.Caller.Subject, Action: action, Target: name, Tenant: r.Caller.TenantID,
		Client: r.Caller.ClientID, Grant: r.Caller.GrantID, Outcome: audit.OK,
	}
	switch r.Caller.Subject {
	case "":
		e.Actor = "address:" + r.Address
	case r.Caller.ClientID:
		e.Actor = "client:" + r.Caller.ClientID
	}
	detail := make([]byte, 0, mostDetail)
	say := func(name, value string) {
		if value == "" {
			return
		}
		if len(detail) > 0 {
			detail = append(detail, ' ')
		}
		detail = append(append(append(detail, name...), '='), value...)
	}
	say("call", r.CallID)
	say("arguments", r.Arguments)
	if action == ActionBegin {
		e.Detail = string(detail)
		return e
	}
	reason := r.Refused
	switch outcome := r.Outcome(); {
	case outcome == guard.OutcomeRefused:
		e.Outcome = audit.Refused
	case r.Behind != "":
		e.Outcome, reason = audit.Refused, r.Behind
	case outcome == guard.OutcomeObserved:
		e.Outcome = audit.Observed
	case outcome == guard.OutcomeFailed:
		e.Outcome = audit.Failed
		if reason = r.Failure; reason == "" {
			reason = fmt.Sprintf("status %d", r.Status)
		}
	}
	// in ASCII, which is kept as it is
	say("took", strconv.FormatFloat(float64(r.Duration.Microseconds())/1000, 'f', -1, 64)+"ms")
	say("reason", reason)
	e.Detail = string(detail)
	return e
}
