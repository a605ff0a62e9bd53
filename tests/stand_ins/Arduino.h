/* What the runner's port uses of the Arduino framework, as its reference describes it: enough to compile, and with
 * arduino_on_host.cpp to run on the machine of the tests. */
#ifndef STAND_IN_ARDUINO_H
#define STAND_IN_ARDUINO_H

#include <stddef.h>
#include <stdint.h>

/* Names that the framework takes, so that ours keep away from them. */
#define HIGH 0x1
#define LOW 0x0
#define INPUT 0x0
#define OUTPUT 0x1

class HardwareSerial {
public:
    void begin(unsigned long baud);
    int available();
    int read();
    size_t write(uint8_t byte);
    void flush();
};

#ifndef STAND_IN_TINYUSB /* where another header declares it */
extern HardwareSerial Serial;
#endif

#ifdef STAND_IN_ESP /* Espressif's framework only */
class EspClass {
public:
    uint32_t getCycleCount();
    uint32_t getCpuFreqMHz();
};
extern EspClass ESP;
#endif

extern "C" {
unsigned long millis(void);
unsigned long micros(void);
void delay(unsigned long ms);
void pinMode(uint8_t pin, uint8_t mode);
void digitalWrite(uint8_t pin, uint8_t value);
}

void setup(void);
void loop(void);

#endif
