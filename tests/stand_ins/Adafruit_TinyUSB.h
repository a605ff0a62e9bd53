/* Declares the serial port of Adafruit's boards with USB of their own. */
#ifndef STAND_IN_ADAFRUIT_TINYUSB_H
#define STAND_IN_ADAFRUIT_TINYUSB_H

#include <Arduino.h>

extern HardwareSerial Serial;

#endif
