// An RP2040 in rp2040js, whose UART0 is a terminal that the caller has opened, or a TCP port:
//
//     node rp2040_uart.mjs DESCRIPTOR|PORT@HOST FIRMWARE.elf
//
// It runs as fast as this computer can, and takes no time of it while the processor sleeps and nobody writes.
import { createReadStream, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { load, stepper } from './rp2040_chip.mjs';

const CYCLE_NS = 8; // as long as nobody sets up the clocks
const BETWEEN_LOOKS = 256; // instructions, for a byte that waits
const AT_ONCE = 1 << 18; // instructions, before this computer's events are looked at

const [wire, path] = process.argv.slice(2);

function start() {
  const chip = load(path, process.env.TINYGEN_RP2040JS);
  const { core, clock } = chip;
  const [uart] = chip.uart;
  const step = stepper(chip);
  const waiting = []; // bytes for the UART
  let running = true;

  const feed = () => { if (waiting.length && uart.rxFIFO.empty) uart.feedByte(waiting.shift()); };
  const wakes = () => (core.pendingInterrupts & core.enabledInterrupts) !== 0;

  const run = () => {
    for (let count = 0; count < AT_ONCE; count++) {
      if (core.waiting) {
        feed();
        if (!wakes()) {
          running = false;
          return;
        }
        core.waiting = false;
      }
      if (count % BETWEEN_LOOKS === 0) feed();
      clock.tick(step() * CYCLE_NS);
    }
    setImmediate(guarded);
  };
  const guarded = () => {
    try {
      run();
    } catch (error) {
      stop(error);
    }
  };
  const hear = (bytes) => {
    waiting.push(...bytes);
    if (!running) {
      running = true;
      setImmediate(guarded);
    }
  };
  uart.onByte = connect(hear);
  setImmediate(guarded);
}

/** Passes what comes over the wire to `hear`; what sends a byte. */
function connect(hear) {
  const [port, host] = wire.split('@');
  if (host === undefined) {
    createReadStream('', { fd: Number(port) }).on('data', hear).on('error', stop);
    return (byte) => writeSync(Number(port), Uint8Array.of(byte));
  }
  let peer = null; // one after the other
  createServer({ noDelay: true }, (socket) => {
    peer?.destroy();
    peer = socket.on('data', hear).on('error', () => {}).on('close', () => { peer = peer === socket ? null : peer; });
  }).on('error', stop).listen(Number(port), host);
  return (byte) => peer?.write(Uint8Array.of(byte));
}

function stop(error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}

try {
  start();
} catch (error) {
  stop(error);
}
