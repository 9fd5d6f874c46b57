tool
extends Position2D
# A place in the world that smells of something, strongest at its middle.

export var scent := "forest"
export var radius := 150.0
export var colour := Color.green


# From 1 in the middle to 0 at the edge and beyond.
func nearness(position_in_world: Vector2) -> float:
	return max(0.0, 1.0 - global_position.distance_to(position_in_world) / radius)


func _draw() -> void:
	draw_circle(Vector2.ZERO, radius, Color(colour.r, colour.g, colour.b, 0.3))
