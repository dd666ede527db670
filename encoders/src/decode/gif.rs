//! GIF: the first frame on its canvas, as `PIL/GifImagePlugin.py` reads it.

use gif::{ColorOutput, DecodeOptions, MemoryLimit};
use pictor_core::RasterSize;

use super::raster::{Mode, Raster};

/// A GIF file whose first frame's header has been read.
pub(super) struct Gif<'a> {
    decoder: gif::Decoder<&'a [u8]>,
    /// Of the canvas: the stated size, or more where the frame reaches past it.
    pub size: RasterSize,
}

impl<'a> Gif<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::Indexed);
        // The size is checked by the caller, before anything is allocated.
        options.set_memory_limit(MemoryLimit::Unlimited);
        let mut decoder = options.read_info(bytes).map_err(|error| error.to_string())?;
        let (width, height) = (decoder.width(), decoder.height());
        let frame = decoder.next_frame_info().map_err(|error| error.to_string())?.ok_or("it has no frame")?;
        let reach =
            |canvas: u16, from: u16, side: u16| u32::from(canvas).max(u32::from(from) + u32::from(side));
        let size = RasterSize {
            width: reach(width, frame.left, frame.width),
            height: reach(height, frame.top, frame.height),
        };
        Ok(Self { decoder, size })
    }

    pub fn read(mut self) -> Result<Raster, String> {
        let frame = self.decoder.current_frame_info().ok_or("it has no frame")?.clone();
        let mut indices = vec![0; self.decoder.buffer_size()];
        self.decoder.read_into_buffer(&mut indices).map_err(|error| error.to_string())?;
        // No palette at all means grey.
        let palette = frame.palette.as_deref().or(self.decoder.global_palette()).unwrap_or_default();
        let grey =
            palette.chunks_exact(3).enumerate().all(|(i, rgb)| rgb.iter().all(|&v| usize::from(v) == i));
        let colour = |index: u8| {
            let alpha = if frame.transparent == Some(index) { 0 } else { 255 };
            if grey {
                return [index, index, index, alpha];
            }
            // An index past the palette is black.
            let rgb = palette.get(usize::from(index) * 3..).and_then(|rest| rest.first_chunk());
            let &[r, g, b] = rgb.unwrap_or(&[0; 3]);
            [r, g, b, alpha]
        };
        // Around the frame lies the transparent index, or index 0.
        let around = colour(frame.transparent.unwrap_or(0));
        let RasterSize { width, height } = self.size;
        let mut pixels = around.repeat(width as usize * height as usize);
        let columns = usize::from(frame.width);
        for (y, row) in indices.chunks_exact(columns.max(1)).enumerate() {
            let start = (usize::from(frame.top) + y) * width as usize + usize::from(frame.left);
            for (pixel, &index) in pixels.as_chunks_mut().0[start..start + columns].iter_mut().zip(row) {
                *pixel = colour(index);
            }
        }
        let mode = if grey { Mode::Keyed } else { Mode::Indexed };
        Ok(Raster::new(self.size, pixels, mode))
    }
}
