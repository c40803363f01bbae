//! Pictures as files: PNG and JPEG in, PNG out.

use std::io::Cursor;

use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;

use super::{PIXELS_MAX, Picture, PictureError, SIDE_MAX, check_sides};

impl Picture {
    /// Reads a PNG or JPEG file. Transparency is dropped, gray becomes three equal colors.
    ///
    /// # Errors
    ///
    /// [`PictureError`] when it is neither, is broken, or larger than we take.
    pub fn read(file: &[u8]) -> Result<Self, PictureError> {
        match file {
            [0x89, b'P', b'N', b'G', ..] => read_png(file),
            [0xFF, 0xD8, 0xFF, ..] => read_jpeg(file),
            _ => Err(PictureError::new("neither PNG nor JPEG by its first bytes")),
        }
    }

    /// The file of a PNG.
    ///
    /// # Errors
    ///
    /// [`PictureError`] when the encoder refuses; memory is all it needs.
    pub fn to_png(&self) -> Result<Vec<u8>, PictureError> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header().map_err(PictureError::new)?;
        writer.write_image_data(&self.rgb).map_err(PictureError::new)?;
        writer.finish().map_err(PictureError::new)?;
        Ok(file)
    }
}

fn read_png(file: &[u8]) -> Result<Picture, PictureError> {
    let limits = png::Limits { bytes: 4 * PIXELS_MAX as usize };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(file), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(PictureError::new)?;
    check_sides(reader.info().width, reader.info().height)?;
    let too_large = || PictureError::new("too large for this machine");
    let mut bytes = vec![0; reader.output_buffer_size().ok_or_else(too_large)?];
    let info = reader.next_frame(&mut bytes).map_err(PictureError::new)?;
    reader.finish().map_err(PictureError::new)?;
    bytes.truncate(info.buffer_size());
    let rgb = match info.color_type {
        png::ColorType::Rgb => bytes,
        png::ColorType::Rgba => bytes.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        png::ColorType::Grayscale => bytes.iter().flat_map(|&gray| [gray; 3]).collect(),
        png::ColorType::GrayscaleAlpha => {
            bytes.chunks_exact(2).flat_map(|pixel| [pixel[0]; 3]).collect()
        }
        png::ColorType::Indexed => {
            return Err(PictureError::new("a palette that was not expanded"));
        }
    };
    Picture::new(info.width, info.height, rgb)
}

fn read_jpeg(file: &[u8]) -> Result<Picture, PictureError> {
    let options = DecoderOptions::default()
        .set_max_width(SIDE_MAX as usize)
        .set_max_height(SIDE_MAX as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(Cursor::new(file), options);
    decoder.decode_headers().map_err(PictureError::new)?;
    let info = decoder.info().ok_or_else(|| PictureError::new("a JPEG without a size"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    check_sides(width, height)?;
    let rgb = decoder.decode().map_err(PictureError::new)?;
    Picture::new(width, height, rgb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::picture::Content;

    #[test]
    fn what_is_written_is_read() {
        for (width, height) in [(1, 1), (7, 3), (64, 64), (300, 1)] {
            let picture = Picture::generate(width, height, Content::Complex, 3);
            assert_eq!(Ok(picture.clone()), Picture::read(&picture.to_png().unwrap()));
        }
    }

    #[test]
    fn gray_and_transparent_pictures_are_read_as_colors() {
        for (color, pixel, expected) in [
            (png::ColorType::Grayscale, &[9_u8][..], [9, 9, 9]),
            (png::ColorType::GrayscaleAlpha, &[8, 0], [8, 8, 8]),
            (png::ColorType::Rgba, &[1, 2, 3, 0], [1, 2, 3]),
        ] {
            let mut file = Vec::new();
            let mut encoder = png::Encoder::new(&mut file, 1, 1);
            encoder.set_color(color);
            encoder.write_header().unwrap().write_image_data(pixel).unwrap();
            assert_eq!(expected.as_slice(), Picture::read(&file).unwrap().rgb());
        }
    }

    #[test]
    fn a_torn_or_foreign_file_is_an_error_and_no_panic() {
        let file = Picture::generate(40, 30, Content::Medium, 1).to_png().unwrap();
        for end in 0..file.len() {
            assert!(Picture::read(&file[..end]).is_err(), "{end} bytes");
        }
        for file in
            [&b""[..], b"GIF89a", &[0xFF, 0xD8, 0xFF, 0xE0], &[0xFF, 0xD8, 0xFF, 0xDB, 0, 2]]
        {
            assert!(Picture::read(file).is_err());
        }
    }

    #[test]
    fn a_picture_that_claims_too_much_is_refused_before_it_takes_memory() {
        let mut file = Picture::generate(2, 2, Content::Simple, 1).to_png().unwrap();
        // The width is in the header chunk; its sum is wrong then, too, and either is refused.
        file[16..20].copy_from_slice(&0x7FFF_FFFF_u32.to_be_bytes());
        assert!(Picture::read(&file).is_err());
        assert!(Picture::new(SIDE_MAX + 1, 1, Vec::new()).is_err());
        assert!(Picture::new(SIDE_MAX, SIDE_MAX, Vec::new()).is_err());
    }
}
