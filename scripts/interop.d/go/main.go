// The client of the package gorilla/websocket.
//
// In      lines with a behaviour each, on stdin
// Out     lines with an answer each, on stdout
// Bounds  the one who asks sets the time
// Source  docs/interoperation.md
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// The package's version, set when this is built.
var gorilla = "unknown"

// What is asked: each behaviour needs some of these.
type asked struct {
	Behaviour, URL, Topic, Text, Reason, Own, Foreign, Good, Short, Fresh string
	Count, Window, Bytes, Code, Status                                    int
	SilenceMs                                                             int `json:"silence_ms"`
	Lengths                                                               []int
	Texts, Bad                                                            []string
}

var behaviours = map[string]func(asked) error{
	"subprotocol": subprotocol, "requests": requests, "order": order, "raw": raw, "fragments": fragments,
	"ping": ping, "keepalive": keepalive, "limit": limit, "close": closing, "deflate": deflate, "origin": origin,
	"token": token, "expiry": expiry, "drain": drain, "restart": restart,
}

func main() {
	say(map[string]any{"peer": fmt.Sprintf("gorilla/websocket %s, %s", gorilla, runtime.Version())})
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var request asked
		if err := json.Unmarshal(line, &request); err != nil {
			panic(err)
		}
		if err := behaviours[request.Behaviour](request); err != nil {
			say(map[string]any{"failed": err.Error()})
		} else {
			say(map[string]any{"passed": true})
		}
	}
}

func say(answer any) {
	line, _ := json.Marshal(answer)
	fmt.Println(string(line))
}

func ready() { say(map[string]any{"ready": true}) }

// --- the behaviours ---

func subprotocol(a asked) error {
	offering, err := open(a.URL, offer{protocols: []string{"other", "fanwire"}})
	if err != nil {
		return err
	}
	plain, err := open(a.URL, offer{})
	if err != nil {
		return err
	}
	return first(
		expect("the protocol chosen of other and fanwire", offering.Subprotocol(), "fanwire"),
		expect("the protocol where none was offered", plain.Subprotocol(), ""),
		offering.close(1000, ""), plain.close(1000, ""))
}

func requests(a asked) error {
	c, err := open(a.URL, offer{})
	if err != nil {
		return err
	}
	topic := map[string]any{"topic": a.Topic}
	if err := first(c.subscribe(a.Topic), c.say("unsubscribe", topic), c.expect("unsubscribed", topic),
		c.say("subscribe", map[string]any{"topic": "error"})); err != nil {
		return err
	}
	refusal, err := c.heard()
	if err != nil {
		return err
	}
	code := refusal["data"].(map[string]any)["code"]
	mixed := []any{"é", 1.0, nil}
	return first(expect("the refusal of a reserved topic", []any{refusal["topic"], code}, []any{"error", "reserved_topic"}),
		c.say("ping", mixed), c.expect("pong", mixed), c.close(1000, ""))
}

func order(a asked) error {
	publisher, err := open(a.URL, offer{})
	if err != nil {
		return err
	}
	subscriber, err := open(a.URL, offer{})
	if err != nil {
		return err
	}
	if err := subscriber.subscribe(a.Topic); err != nil {
		return err
	}
	wanted := func(number int) any {
		return map[string]any{"number": float64(number), "text": a.Texts[number%len(a.Texts)]}
	}
	for number, heard := 0, 0; heard < a.Count; {
		for ; number < a.Count && number < heard+a.Window; number++ {
			if err := publisher.say("publish", map[string]any{"topic": a.Topic, "data": wanted(number)}); err != nil {
				return err
			}
		}
		for ; heard < number; heard++ {
			if err := subscriber.expect(a.Topic, wanted(heard)); err != nil {
				return fmt.Errorf("message %d: %w", heard, err)
			}
		}
	}
	return first(publisher.close(1000, ""), subscriber.close(1000, ""))
}

func raw(a asked) error {
	c, err := open(a.URL, offer{})
	if err != nil {
		return err
	}
	echoed := func(kind int, payload []byte) error {
		if err := c.WriteMessage(kind, payload); err != nil {
			return err
		}
		back, found, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if back != kind || !bytes.Equal(found, payload) {
			return fmt.Errorf("%d bytes of kind %d came back as %d bytes of kind %d", len(payload), kind, len(found), back)
		}
		return nil
	}
	for _, length := range a.Lengths {
		payload := make([]byte, length)
		for index := range payload {
			payload[index] = byte(index)
		}
		if err := echoed(websocket.BinaryMessage, payload); err != nil {
			return err
		}
	}
	for _, text := range a.Texts {
		if err := echoed(websocket.TextMessage, []byte(text)); err != nil {
			return err
		}
	}
	return c.close(1000, "")
}

func fragments(a asked) error {
	// A small buffer is how this package makes fragments: 16 bytes at a time, which cuts characters, too.
	c, err := open(a.URL, offer{writeBufferBytes: 16})
	if err != nil {
		return err
	}
	message, _ := json.Marshal(map[string]any{"topic": "ping", "data": a.Text})
	writer, err := c.NextWriter(websocket.TextMessage)
	if err != nil {
		return err
	}
	half := len(message) / 2
	if _, err := writer.Write(message[:half]); err != nil {
		return err
	}
	if err := c.WriteControl(websocket.PingMessage, []byte("between"), time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := writer.Write(message[half:]); err != nil {
		return err
	}
	return first(writer.Close(), c.expect("pong", a.Text), c.close(1000, ""))
}

func ping(a asked) error {
	c, err := open(a.URL, offer{})
	if err != nil {
		return err
	}
	var pongs []string
	c.SetPongHandler(func(payload string) error {
		pongs = append(pongs, payload)
		return nil
	})
	var sent []string
	for _, payload := range []string{"", "are you there?", strings.Repeat("x", 125)} {
		// Pongs are handled while something is read: the answer in band comes after them.
		if err := first(c.WriteControl(websocket.PingMessage, []byte(payload), time.Now().Add(time.Second)),
			c.say("ping", payload), c.expect("pong", payload)); err != nil {
			return err
		}
		sent = append(sent, payload)
	}
	return first(expect("the pongs", pongs, sent), c.close(1000, ""))
}

func keepalive(a asked) error {
	c, err := open(a.URL, offer{})
	if err != nil {
		return err
	}
	heard := make(chan error, 1)
	go func() { heard <- c.expect("pong", 1.0) }()
	select {
	case err := <-heard:
		return fmt.Errorf("in a silence of %d ms something came: %v", a.SilenceMs, err)
	case <-time.After(time.Duration(a.SilenceMs) * time.Millisecond):
	}
	return first(c.say("ping", 1), <-heard, c.close(1000, ""))
}

func limit(a asked) error {
	c, err := open(a.URL, offer{})
	if err != nil {
		return err
	}
	// The server may have ended it before all is written.
	_ = c.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("x"), a.Bytes))
	return c.expectEnd("after a message over the limit", a.Code, a.Reason)
}

func closing(a asked) error {
	for code, reason := range map[int]string{1000: "done", 4321: "é"} {
		c, err := open(a.URL, offer{})
		if err != nil {
			return err
		}
		if err := c.close(code, reason); err != nil {
			return err
		}
		if err := c.expectEnd("after a close of our own", code, anyReason); err != nil {
			return err
		}
	}
	return nil
}

func deflate(a asked) error {
	c, err := open(a.URL, offer{deflate: true})
	if err != nil {
		return err
	}
	return first(expect("the extensions in force", c.extensions, ""),
		c.say("ping", a.Text), c.expect("pong", a.Text), c.close(1000, ""))
}

func origin(a asked) error {
	if err := refused("a foreign origin", a.Status, a.URL, offer{origin: a.Foreign}); err != nil {
		return err
	}
	c, err := open(a.URL, offer{origin: a.Own})
	if err != nil {
		return err
	}
	return c.close(1000, "")
}

func token(a asked) error {
	if err := refused("no token", a.Status, a.URL, offer{}); err != nil {
		return err
	}
	asProtocol := func(token string) offer { return offer{protocols: []string{"fanwire", "fanwire.token." + token}} }
	for _, bad := range a.Bad {
		if err := first(refused("a bad token", a.Status, a.URL, offer{token: bad}),
			refused("a bad token as a protocol", a.Status, a.URL, asProtocol(bad))); err != nil {
			return err
		}
	}
	ways := []struct {
		how, url string
		offer    offer
		protocol string
	}{
		{"in a header", a.URL, offer{token: a.Good}, ""},
		{"in the address", a.URL + "?token=" + a.Good, offer{}, ""},
		{"as a protocol", a.URL, asProtocol(a.Good), "fanwire"},
	}
	for _, way := range ways {
		c, err := open(way.url, way.offer)
		if err != nil {
			return err
		}
		if err := first(expect("the protocol with a token "+way.how, c.Subprotocol(), way.protocol),
			c.subscribe("news"), c.close(1000, "")); err != nil {
			return err
		}
	}
	return nil
}

func expiry(a asked) error {
	staying, err := open(a.URL, offer{token: a.Short})
	if err != nil {
		return err
	}
	going, err := open(a.URL, offer{token: a.Short})
	if err != nil {
		return err
	}
	return first(staying.expectState("expiring"), staying.say("auth", map[string]any{"token": a.Fresh}),
		staying.expectState("renewed"), going.expectState("expiring"),
		going.expectEnd("of a session whose token has expired", a.Code, a.Reason),
		staying.subscribe("news"), staying.close(1000, ""))
}

func drain(a asked) error {
	c, err := open(a.URL, offer{})
	if err != nil {
		return err
	}
	if err := c.subscribe(a.Topic); err != nil {
		return err
	}
	ready()
	return c.expectEnd("when the server is told to end", a.Code, a.Reason)
}

func restart(a asked) error {
	c, err := open(a.URL, offer{})
	if err != nil {
		return err
	}
	ready()
	if err := first(c.expectEnd("when the server restarts", a.Code, anyReason),
		refused("no server behind the proxy", a.Status, a.URL, offer{})); err != nil {
		return err
	}
	ready()
	for {
		c, err := open(a.URL, offer{})
		var refusal refusal
		if errors.As(err, &refusal) && refusal.status == a.Status {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		return first(c.subscribe(a.Topic), c.close(1000, ""))
	}
}
