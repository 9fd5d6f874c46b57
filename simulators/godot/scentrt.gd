class_name ScentRT
extends Node
# Streams the scents of a game to a ScentRT theatre.
#
# One file, for Godot 3: copy it into a game, add a ScentRT node, set its `url`.
# A cue() is an event and is answered; a level is a source that the game holds
# with set_level() and that this node repeats until clear_level(). The connection
# lives as long as the node: it opens by itself, comes back by itself, and then
# resumes its session, so that nothing is sprayed twice and little is lost.
#
# Times are milliseconds. A `to` is exactly one of {"all": true},
# {"zones": ["A"]}, {"seats": ["A-1-3"]} and {"goggles": ["player-7"]}.

# The server knows us. `resumed` tells whether it still knows what we asked before.
signal welcomed(session, zones, resumed)
# The connection is lost or could not be made; the node tries again by itself.
signal disconnected(reason)
# The server does not want us (a wrong token, say); the node does not try again.
signal turned_away(code, message)
# The connection ended for good: after close(), and after turned_away.
signal closed()

# What became of a cue: every cue() is followed by exactly one of these two.
# `answer` holds due, targets, skipped (reason to number of seats) and duplicate.
signal cue_accepted(id, answer)
signal cue_refused(id, code, message)
# What a cue with {"report": true} did: written, failed, expired, lateness_ms, …
signal report(id, outcome)
signal cue_cancelled(id, stopped)
signal stopped(id, stopped)
# `state` is active, ended, or the reason why the level does not spray.
signal level_state_changed(scent, to, state)
# What subscribe(["scent"]) brings: a scent begins, changes or ends somewhere.
signal scent_event(event)
# Every other event, and answers that have no signal of their own.
signal message_received(message)
# Something other than a cue was refused; `id` is null where no request is meant.
signal request_refused(id, code, message)

const SUBPROTOCOL := "scentrt.v1.json"
const EVERYBODY := {"all": true}

# The server gives us as long for our hello.
const OPENING_MS := 5000.0
# A session can be resumed for 5 s, so the first attempts come quickly.
const FIRST_RETRY_MS := 250.0
const LAST_RETRY_MS := 5000.0
const CUE_TTL_MS := 500.0
const PING_EVERY_MS := 1500.0
# Clocks drift apart, so even the best measurement is good for so long only.
const CLOCK_SAMPLE_LIFE_MS := 30000.0

export var url := "ws://127.0.0.1:8765/"
export var token := ""
export var client_name := "my-game"
export var autoconnect := true
export(float, 1, 120) var levels_per_second := 60.0
# How long a level lives when the next one does not come.
export(float, 20, 5000) var level_ttl_ms := 500.0

# As the last welcome told them; zones are [{"zone", "seats", "scents"}].
var session := ""
var zones := []
# How many levels went out, for statistics.
var levels_sent := 0

var _socket: WebSocketClient
var _wanted := false
var _hello_id := ""
var _hello_at := 0.0
var _welcomed := false
var _opening_until := 0.0
var _retry_at := 0.0
var _retry_ms := FIRST_RETRY_MS
var _close_reason := ""
var _max_silence_ms := 5000.0
var _heard_at := 0.0
# Of our own, so that the game's random numbers stay as they were.
var _random := RandomNumberGenerator.new()

var _last_id := 0
# Requests without an answer yet: id -> {message, until, sent}.
var _asked := {}
# Subscriptions outlive a session, as a game asks for them once: id -> message.
var _subscriptions := {}
# The server has names of its own for them: id -> name.
var _subscription_names := {}
# Levels that the game holds: key -> message.
var _held := {}
var _levels_due := 0.0

var _clock_offset_ms := 0.0
var _clock_way_out_ms := INF
var _clock_sampled_at := 0.0
var _ping_due := 0.0
var _polled_at := 0.0
var _frame_ms := 0.0


func _ready() -> void:
	_random.randomize()
	# A game that pauses stays connected.
	pause_mode = Node.PAUSE_MODE_PROCESS
	# After the game's own nodes, so that a level set in this frame leaves in it.
	process_priority = 1000
	if autoconnect:
		open()


func _exit_tree() -> void:
	# A clean close ends our levels now instead of after their time to live.
	if _socket != null:
		_socket.disconnect_from_host()
		_welcomed = false


# Connect, and stay connected until close().
func open() -> void:
	_wanted = true


# Disconnect cleanly; `closed` follows. Levels end, cues that wait are dropped.
func close() -> void:
	_wanted = false
	if _socket == null:
		call_deferred("emit_signal", "closed")


func is_open() -> bool:
	return _welcomed


# Ask for one scent, once. Returns the cue's id; cue_accepted or cue_refused follows.
#
# `options` may hold at (see server_time()), ttl_ms, priority, mix, report and id.
# While there is no connection the cue waits for its time to live, and no longer.
func cue(
	scent: String,
	intensity: float,
	duration_ms: float,
	to: Dictionary = EVERYBODY,
	options: Dictionary = {}
) -> String:
	var message := {
		"type": "cue",
		"scent": scent,
		"intensity": _finite(intensity),
		"duration_ms": duration_ms,
		"to": to,
	}
	for option in options:
		message[option] = options[option]
	if message.has("priority"):
		message.priority = int(message.priority)
	var wait_ms: float = message.get("ttl_ms", CUE_TTL_MS)
	if message.has("at"):
		wait_ms += max(0.0, message.at - server_time())
	return _ask(message, wait_ms)


# Take a cue back: unscheduled if it waits, stopped if it runs.
func cancel(cue_id: String) -> String:
	return _ask({"type": "cancel", "cue": cue_id})


# Stop what this game sprays at `to`, or everywhere.
#
# Held levels are let go with it: all of them, or those that were set for this `to`.
func stop(to: Dictionary = {}) -> String:
	for key in _held.keys():
		if to.empty() or to_json(_held[key].to) == to_json(to):
			_held.erase(key)
	return _ask({"type": "stop"} if to.empty() else {"type": "stop", "to": to})


# Send a level once. It ends after `ttl_ms` unless another one comes; 0 ends it now.
#
# Without a connection it is lost, as a level of the past is worth nothing.
func level(
	scent: String, intensity: float, to: Dictionary = EVERYBODY, ttl_ms: float = level_ttl_ms
) -> void:
	if _welcomed:
		_send_level(_level_message(scent, intensity, to, ttl_ms))


# Hold a source at this intensity: call it as often as it changes, or every frame.
func set_level(scent: String, intensity: float, to: Dictionary = EVERYBODY) -> void:
	if intensity <= 0.0:
		clear_level(scent, to)
	else:
		_held[_level_key(scent, to)] = _level_message(scent, intensity, to, level_ttl_ms)


# Let a source go.
func clear_level(scent: String, to: Dictionary = EVERYBODY) -> void:
	if _held.erase(_level_key(scent, to)):
		level(scent, 0.0, to)


# Hear of `events` ("scent", "zone", "stock"), perhaps only of some zones, seats, scents.
#
# `filters` may hold zones, seats and scents. Stays in force over reconnections.
func subscribe(events: Array, filters: Dictionary = {}) -> String:
	var message := {"type": "subscribe", "events": events}
	for filter in filters:
		message[filter] = filters[filter]
	message.id = _next_id("subscribe")
	_subscriptions[message.id] = message
	if _welcomed:
		_ask(message)
	return message.id


# Hear no more of what a subscribe() with this id brought.
func unsubscribe(subscribe_id: String) -> void:
	_subscriptions.erase(subscribe_id)
	if _subscription_names.has(subscribe_id):
		_ask({"type": "unsubscribe", "subscription": _subscription_names[subscribe_id]})
		_subscription_names.erase(subscribe_id)


# The server's clock now, in Unix milliseconds: the clock of a cue's `at`.
func server_time() -> float:
	return _now_ms() + _clock_offset_ms


func _process(_delta: float) -> void:
	var now := _now_ms()
	# Not _delta, which Engine.time_scale stretches.
	_frame_ms = now - _polled_at
	_polled_at = now
	if _socket == null:
		if _wanted and now >= _retry_at:
			_dial(now)
	else:
		_keep_connection(now)
	if _welcomed:
		_keep_clock(now)
		_repeat_levels(now)
	_give_up_late_requests(now)


func _dial(now: float) -> void:
	_opening_until = now + OPENING_MS
	_close_reason = ""
	_socket = WebSocketClient.new()
	# The server's frames stay under 32 KiB; a frame of the game may bring many.
	_socket.set_buffers(256, 1024, 256, 1024)
	_socket.connect("connection_established", self, "_on_connection_established")
	_socket.connect("server_close_request", self, "_on_server_close_request")
	_socket.connect("data_received", self, "_on_data_received")
	if _socket.connect_to_url(url, PoolStringArray([SUBPROTOCOL])) != OK:
		_close_reason = "'%s' cannot be reached" % url


func _keep_connection(now: float) -> void:
	_socket.poll()
	var status := _socket.get_connection_status()
	if status == NetworkedMultiplayerPeer.CONNECTION_DISCONNECTED:
		_lose(now)
	elif not _welcomed and now > _opening_until:
		_close_reason = "no welcome from %s within %d ms" % [url, OPENING_MS]
		_lose(now)
	elif _welcomed and now > _heard_at + _max_silence_ms:
		_close_reason = "the server has been silent for %d ms" % _max_silence_ms
		_lose(now)
	elif not _wanted:
		_socket.disconnect_from_host()


# Only from _process: the socket must not be freed while it calls us.
func _lose(now: float) -> void:
	var was_welcomed := _welcomed
	_subscription_names.clear()
	_socket = null
	_welcomed = false
	if not _wanted:
		session = ""
		for id in _asked.keys():
			_refuse(id, "not-connected", "the game left before the answer came")
		emit_signal("closed")
		return
	if was_welcomed:
		_retry_ms = FIRST_RETRY_MS
	# Not all the games of an arcade at the same moment.
	_retry_at = now + _retry_ms * _random.randf_range(0.5, 1.0)
	_retry_ms = min(_retry_ms * 2.0, LAST_RETRY_MS)
	if _close_reason == "":
		_close_reason = "the connection broke" if was_welcomed else "nobody answers at %s" % url
	emit_signal("disconnected", _close_reason)


func _on_connection_established(_protocol: String) -> void:
	# A peer writes binary frames unless told otherwise.
	_socket.get_peer(1).set_write_mode(WebSocketPeer.WRITE_MODE_TEXT)
	_hello_id = _next_id("hello")
	_hello_at = _now_ms()
	var hello := {
		"type": "hello",
		"id": _hello_id,
		"protocol": 1,
		"role": "engine",
		"name": client_name,
	}
	if token != "":
		hello.token = token
	if session != "":
		hello.resume = session
	_send(hello)


func _on_server_close_request(code: int, reason: String) -> void:
	_close_reason = "the server closed the connection (%d %s)" % [code, reason]


func _on_data_received() -> void:
	_heard_at = _now_ms()
	var text := _socket.get_peer(1).get_packet().get_string_from_utf8()
	var parsed := JSON.parse(text)
	if parsed.error != OK or not parsed.result is Dictionary:
		push_error("ScentRT: not a message: %s" % text)
		return
	var message: Dictionary = parsed.result
	var id = message.get("re")
	match message.get("type"):
		"welcome":
			_on_welcome(message)
		"pong":
			_measure_clock(message.t0, message.t1, message.t2)
		"accepted":
			_asked.erase(id)
			emit_signal("cue_accepted", id, message)
		"cancelled":
			_asked.erase(id)
			emit_signal("cue_cancelled", message.cue, int(message.stopped))
		"stopped":
			_asked.erase(id)
			emit_signal("stopped", id, int(message.stopped))
		"report":
			emit_signal("report", message.cue, message)
		"level-state":
			emit_signal("level_state_changed", message.scent, message.to, message.state)
		"subscribed":
			_asked.erase(id)
			_subscription_names[id] = message.subscription
			if not _subscriptions.has(id):
				# Unsubscribed before the server had a name for it.
				unsubscribe(id)
		"scent", "scent-level", "scent-end":
			emit_signal("scent_event", message)
		"error":
			_on_error(id, message)
		_:
			_asked.erase(id)
			emit_signal("message_received", message)


func _on_welcome(message: Dictionary) -> void:
	var resumed: bool = message.session == session
	session = message.session
	zones = message.zones
	_welcomed = true
	_max_silence_ms = message.max_silence_ms
	_retry_ms = FIRST_RETRY_MS
	# The server may have another clock than before, so what was measured is void.
	_clock_way_out_ms = INF
	_measure_clock(_hello_at, message.server_time, message.server_time)
	_ping_due = 0.0
	for id in _subscriptions:
		_asked[id] = {"message": _subscriptions[id], "until": INF, "sent": false}
	for id in _asked.keys():
		var request: Dictionary = _asked[id]
		# In a new session the server cannot tell that it has done this already.
		if request.sent and not resumed:
			_refuse(id, "not-connected", "the connection broke before the answer came")
		else:
			_send_request(request)
	emit_signal("welcomed", session, zones, resumed)


func _on_error(id, message: Dictionary) -> void:
	if id != null and id == _hello_id:
		_close_reason = message.message
		if not message.get("retryable", false):
			_wanted = false
			emit_signal("turned_away", message.code, message.message)
	else:
		_refuse(id, message.code, message.message)


# We sent something at `t0`, it came there at `t1`, and the answer left at `t2`.
#
# What we send leaves at once, but what we are sent waits for our next frame. So the
# fastest way out is the measurement to trust, and one frame of the way back is ours.
func _measure_clock(t0: float, t1: float, t2: float) -> void:
	# The offset of the clocks is in it, which is the same for all.
	var way_out := t1 - t0
	var outdated := _heard_at > _clock_sampled_at + CLOCK_SAMPLE_LIFE_MS
	if way_out <= _clock_way_out_ms or outdated:
		var way_back := _heard_at - t2
		var round_trip := max(0.0, way_out + way_back - _frame_ms)
		_clock_offset_ms = way_out - round_trip / 2.0
		_clock_way_out_ms = way_out
		_clock_sampled_at = _heard_at


func _keep_clock(now: float) -> void:
	if now >= _ping_due:
		_ping_due = now + min(PING_EVERY_MS, _max_silence_ms / 3.0)
		_send({"type": "ping", "id": _next_id("ping"), "t0": _now_ms()})


# A paused game holds its breath: its levels end until it goes on.
func _repeat_levels(now: float) -> void:
	var period := 1000.0 / levels_per_second
	# The frame nearest to the due time will do: waiting for a frame after it would
	# halve the rate whenever frames come as often as levels.
	if get_tree().paused or now < _levels_due - period / 2.0:
		return
	_levels_due = max(_levels_due, now - period) + period
	for key in _held:
		_send_level(_held[key])


func _give_up_late_requests(now: float) -> void:
	if _welcomed:
		return
	for id in _asked.keys():
		if now > _asked[id].until:
			_refuse(id, "not-connected", "there was no connection in time")


func _ask(message: Dictionary, wait_ms: float = INF) -> String:
	if not message.has("id"):
		message.id = _next_id(message.type)
	message.id = str(message.id)
	var request := {"message": message, "until": _now_ms() + wait_ms, "sent": false}
	_asked[message.id] = request
	if _welcomed:
		_send_request(request)
	return message.id


func _send_request(request: Dictionary) -> void:
	request.sent = true
	_send(request.message)


func _refuse(id, code: String, text: String) -> void:
	var request = _asked.get(id)
	_asked.erase(id)
	if request != null and request.message.type == "cue":
		emit_signal("cue_refused", id, code, text)
	else:
		emit_signal("request_refused", id, code, text)


func _level_key(scent: String, to: Dictionary) -> String:
	return scent + to_json(to)


func _level_message(scent: String, intensity: float, to: Dictionary, ttl_ms: float) -> Dictionary:
	return {
		"type": "level",
		"scent": scent,
		"intensity": clamp(_finite(intensity), 0.0, 1.0),
		"to": to,
		"ttl_ms": ttl_ms,
	}


# A distance divided by zero is nothing that JSON can say.
func _finite(intensity: float) -> float:
	return 0.0 if is_nan(intensity) or is_inf(intensity) else intensity


func _send_level(message: Dictionary) -> void:
	levels_sent += 1
	_send(message)


func _send(message: Dictionary) -> void:
	var error := _socket.get_peer(1).put_packet(to_json(message).to_utf8())
	if error != OK:
		push_error("ScentRT: a %s could not be sent (error %d)" % [message.type, error])


func _next_id(kind: String) -> String:
	_last_id += 1
	return "%s-%d" % [kind, _last_id]


# Never steps back, unlike the clock on the wall.
func _now_ms() -> float:
	return OS.get_ticks_usec() / 1000.0
