// scene.pov: "Muster", the film of `cargo xtask demo`.
// A fleet of paper boats musters on a lake at dusk.
#version 3.7;

global_settings { assumed_gamma 1.0 max_trace_level 4 }

#include "boat.inc"
#include "fleet.inc"
#include "lake.inc"

#declare Turn = 2 * pi * clock;

camera {
  location <-1.0 + 0.16 * sin(Turn), 3.0 + 0.06 * cos(Turn), -10.5>
  right x * image_width / image_height
  angle 42
  look_at <1.6, 1.25, 6>
}

// The last sun, behind the fleet.
light_source {
  Sun_Direction * 1000
  color srgb <1.0, 0.62, 0.36> * 1.6
}
// The sky above the camera: soft, cool.
light_source {
  <-30, 60, -80>
  color srgb <0.42, 0.48, 0.78> * 0.7
  shadowless
}

sky_sphere { Dusk_Sky }
object { Shore }
object { Lake }
object { Fleet rotate y * 32 }
