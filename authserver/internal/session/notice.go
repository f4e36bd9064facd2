package session

import (
	"net/http"
	"time"
)

// Notice confirms the form that was sent before a page.
type Notice string

// The notices.
const (
	Saved   Notice = "saved"
	Revoked Notice = "revoked"
	Deleted Notice = "deleted"
)

const noticeName = "gatehouse_notice" // the cookie of the next page's notice

// noticeLife is how long a notice waits for its page.
const noticeLife = time.Minute

// LeaveNotice sets the notice for the next page.
func (m *Manager) LeaveNotice(w http.ResponseWriter, n Notice) {
	m.set(w, noticeName, string(n), noticeLife)
}

// Notice returns and removes this page's notice; empty when there is none. A planted cookie can at
// most choose one of the known notices.
func (m *Manager) Notice(w http.ResponseWriter, r *http.Request) Notice {
	found := r.CookiesNamed(m.name(noticeName))
	if len(found) == 0 {
		return ""
	}
	m.set(w, noticeName, "", -time.Second)
	switch n := Notice(found[0].Value); n {
	case Saved, Revoked, Deleted:
		return n
	}
	return ""
}
