// A connection of the package, and what is expected of it.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/gorilla/websocket"
)

type offer struct {
	protocols        []string
	origin, token    string
	deflate          bool
	writeBufferBytes int
}

type connection struct {
	*websocket.Conn
	extensions string
}

type refusal struct{ status int }

func (r refusal) Error() string { return fmt.Sprintf("refused with %d", r.status) }

func open(url string, o offer) (*connection, error) {
	dialer := websocket.Dialer{Subprotocols: o.protocols, EnableCompression: o.deflate, WriteBufferSize: o.writeBufferBytes}
	header := http.Header{}
	if o.origin != "" {
		header.Set("Origin", o.origin)
	}
	if o.token != "" {
		header.Set("Authorization", "Bearer "+o.token)
	}
	inner, response, err := dialer.Dial(url, header)
	if err == websocket.ErrBadHandshake {
		return nil, refusal{response.StatusCode}
	}
	if err != nil {
		return nil, err
	}
	return &connection{inner, response.Header.Get("Sec-WebSocket-Extensions")}, nil
}

func (c *connection) subscribe(topic string) error {
	data := map[string]any{"topic": topic}
	return first(c.say("subscribe", data), c.expect("subscribed", data))
}

func (c *connection) say(topic string, data any) error {
	return c.WriteJSON(map[string]any{"topic": topic, "data": data})
}

func (c *connection) heard() (message map[string]any, err error) {
	return message, c.ReadJSON(&message)
}

func (c *connection) expect(topic string, data any) error {
	found, err := c.heard()
	if err != nil {
		return err
	}
	return expect("a message", found, map[string]any{"topic": topic, "data": data})
}

func (c *connection) expectState(state string) error {
	found, err := c.heard()
	if err != nil {
		return err
	}
	data, _ := found["data"].(map[string]any)
	return expect("the news of the token", []any{found["topic"], data["state"]}, []any{"auth", state})
}

func (c *connection) expectEnd(when string, code int, reason string) error {
	_, message, err := c.ReadMessage()
	var found *websocket.CloseError
	if !errors.As(err, &found) {
		return fmt.Errorf("the end %s: expected %d, found %v, %.100q", when, code, err, message)
	}
	if reason == anyReason {
		reason = found.Text
	}
	return expect("the end "+when, []any{found.Code, found.Text}, []any{code, reason})
}

// close begins the closing handshake; what comes back is for who reads next.
func (c *connection) close(code int, reason string) error {
	return c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
}

func refused(what string, status int, url string, o offer) error {
	_, err := open(url, o)
	var found refusal
	if !errors.As(err, &found) {
		return fmt.Errorf("%s: expected a refusal with %d, found %v", what, status, err)
	}
	return expect("the status for "+what, found.status, status)
}

func expect(what string, found, wanted any) error {
	if !reflect.DeepEqual(found, wanted) {
		return fmt.Errorf("%s: expected %.300v, found %.300v", what, wanted, found)
	}
	return nil
}

// first gives the first error of steps that have all been tried.
func first(steps ...error) error {
	for _, err := range steps {
		if err != nil {
			return err
		}
	}
	return nil
}

const anyReason = "\x00"
