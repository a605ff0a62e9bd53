/* The stand-in on the machine of the tests: its serial port is the standard input and output. */
#include <Arduino.h>

#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

HardwareSerial Serial;
EspClass ESP;

void HardwareSerial::begin(unsigned long baud)
{
    (void)baud;
}

int HardwareSerial::available()
{
    struct pollfd waiting = {STDIN_FILENO, POLLIN, 0};
    return poll(&waiting, 1, 0) > 0 ? 1 : 0;
}

int HardwareSerial::read()
{
    uint8_t byte;
    if (::read(STDIN_FILENO, &byte, 1) != 1) {
        exit(0); /* the host is gone */
    }
    return byte;
}

size_t HardwareSerial::write(uint8_t byte)
{
    return ::write(STDOUT_FILENO, &byte, 1) == 1 ? 1 : 0;
}

void HardwareSerial::flush()
{
}

static unsigned long now(long per_second)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (unsigned long)time.tv_sec * (unsigned long)per_second +
           (unsigned long)(time.tv_nsec / (1000000000L / per_second));
}

unsigned long millis(void)
{
    return now(1000);
}

unsigned long micros(void)
{
    return now(1000000);
}

void delay(unsigned long ms)
{
    usleep((useconds_t)ms * 1000);
}

#ifdef STAND_IN_PINS /* a file that remembers what pins were set to */
#include <stdio.h>

static void note(char what, uint8_t pin, uint8_t value)
{
    FILE *file = fopen(STAND_IN_PINS, "a");
    fprintf(file, "%c%d=%d\n", what, pin, value);
    fclose(file);
}

void pinMode(uint8_t pin, uint8_t mode)
{
    note('m', pin, mode);
}

void digitalWrite(uint8_t pin, uint8_t value)
{
    note('w', pin, value);
}
#endif

uint32_t EspClass::getCycleCount()
{
    return (uint32_t)(micros() * getCpuFreqMHz());
}

uint32_t EspClass::getCpuFreqMHz()
{
    return 160;
}

int main()
{
    setup();
    for (;;) {
        loop();
    }
}
