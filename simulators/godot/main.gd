extends Node2D
# An explorer walks through forest, street, night club and beach.
#
# Entering a place is a cue; what its scent weighs at each step is a level. Try
#   godot3-server --path simulators/godot -- --url ws://127.0.0.1:8765/ --for 20

# How long the server may take to answer, at the beginning and at the end.
const PATIENCE_S := 5.0
# A fixed lead hides what the network and the frames add, so that a scent comes as
# regularly as the picture.
const LEAD_MS := 50.0
const CUE_INTENSITY := 0.8
const CUE_MS := 800
# Four places in a minute, and still within what a seat may be given.
const LEVEL_INTENSITY := 0.3
const FIRST_X := 100.0
const LAST_X := 900.0

var options := {
	"url": "ws://127.0.0.1:8765/",
	"token": "",
	"name": "explorer",
	"for": "20",
	"zone": "",
	"goggles": "",
}
var target := {"all": true}
var walk_s := 20.0
var walked_s := 0.0
var walking := false
var finished := false
var here: Node
var cues_waiting := 0
var cues_accepted := 0

onready var scent := $ScentRT
onready var explorer := $Explorer


func _ready() -> void:
	var complaint := read_options()
	if complaint != "":
		finish(complaint)
		return
	for news in ["welcomed", "disconnected", "turned_away", "closed", "cue_accepted",
			"cue_refused", "report", "level_state_changed", "request_refused"]:
		scent.connect(news, self, "_on_" + news)
	scent.url = options.url
	scent.token = options.token
	scent.client_name = options.name
	scent.open()
	get_tree().create_timer(PATIENCE_S).connect("timeout", self, "_on_patience_over")


func _process(delta: float) -> void:
	if not walking:
		return
	walked_s += delta
	explorer.position.x = lerp(FIRST_X, LAST_X, min(1.0, walked_s / walk_s))
	var nearest: Node = null
	for area in $Areas.get_children():
		var nearness: float = area.nearness(explorer.global_position)
		scent.set_level(area.scent, LEVEL_INTENSITY * nearness, target)
		if nearest == null or nearness > nearest.nearness(explorer.global_position):
			nearest = area
	if nearest != here:
		enter(nearest)
	if walked_s >= walk_s:
		arrive()
	update()


func _draw() -> void:
	draw_circle(explorer.position, 12, Color.white)


func enter(area: Node) -> void:
	here = area
	var id: String = scent.cue(area.scent, CUE_INTENSITY, CUE_MS, target, {
		"at": scent.server_time() + LEAD_MS,
		"mix": true,
		"report": true,
	})
	cues_waiting += 1
	say("enters %s: %s asks for %s" % [area.name, id, area.scent])


func arrive() -> void:
	walking = false
	for area in $Areas.get_children():
		scent.clear_level(area.scent, target)
	say("arrives, after %d levels (%.0f a second)" % [scent.levels_sent, scent.levels_sent / walked_s])
	if not scent.is_open():
		finish("The server at %s was gone in the end." % options.url)
	elif cues_waiting > 0:
		finish("%d cues had no answer." % cues_waiting)
	else:
		scent.close()


func say(line: String) -> void:
	print("%5.1f s  %s" % [walked_s, line])


# Quit with 0, or with 1 and a sentence that says why.
func finish(complaint: String = "") -> void:
	if finished:
		return
	finished = true
	walking = false
	if complaint != "":
		printerr(complaint)
		OS.exit_code = 1
	get_tree().quit()


# Read `--key value` after the `--`; returns what is wrong with it, if anything.
func read_options() -> String:
	if options.token == "":
		# A token on the command line can be read by everybody on the machine.
		options.token = OS.get_environment("SCENTRT_TOKEN")
	var words := Array(OS.get_cmdline_args())
	words = words.slice(words.find("--") + 1, words.size()) if "--" in words else []
	while not words.empty():
		var key: String = words.pop_front()
		var name := key.trim_prefix("--")
		if not key.begins_with("--") or not name in options:
			return "There is no option %s; there are --%s." % [key, PoolStringArray(options.keys()).join(", --")]
		if words.empty():
			return "%s needs a value." % key
		options[name] = words.pop_front()
	walk_s = float(options["for"])
	if walk_s <= 0.0:
		return "--for needs a number of seconds, not '%s'." % options["for"]
	if options.goggles != "":
		target = {"goggles": Array(options.goggles.split(","))}
	elif options.zone != "":
		target = {"zones": Array(options.zone.split(","))}
	return ""


func _on_welcomed(session: String, zones: Array, resumed: bool) -> void:
	var seats := PoolStringArray()
	for zone in zones:
		seats.append("%d seats in zone %s" % [zone.seats, zone.zone])
	say("%s as %s: %s" % ["resumed" if resumed else "welcomed", session, seats.join(", ")])
	walking = true


func _on_disconnected(reason: String) -> void:
	say("disconnected: %s" % reason)


func _on_turned_away(code: String, message: String) -> void:
	finish("The server turned us away: %s (%s)." % [message, code])


func _on_closed() -> void:
	say("said goodbye: %d cues accepted" % cues_accepted)
	finish()


func _on_patience_over() -> void:
	if scent.session == "":
		finish("Could not connect to a ScentRT server at %s." % options.url)


func _on_cue_accepted(id: String, answer: Dictionary) -> void:
	cues_waiting -= 1
	cues_accepted += 1
	say("%s accepted for %d seats, skipped %s" % [id, answer.targets, answer.skipped])


func _on_cue_refused(id: String, code: String, message: String) -> void:
	finish("%s was refused: %s (%s)." % [id, message, code])


func _on_report(id: String, outcome: Dictionary) -> void:
	if outcome.written > 0:
		say("%s sprayed by %d seats, %.1f ms late" % [id, outcome.written, outcome.lateness_ms])
	else:
		say("%s sprayed by nobody" % id)


func _on_level_state_changed(scent_name: String, _to: Dictionary, state: String) -> void:
	say("the level of %s: %s" % [scent_name, state])


func _on_request_refused(_id, code: String, message: String) -> void:
	finish("The server did not understand us: %s (%s)." % [message, code])
