"""Published architectures by name, for `--random-weights` where no hub answers: what their config.json and
preprocessor_config.json say, less what equals the library's default."""

from transformers import (
    Blip2Config, BlipConfig, BlipImageProcessorPil, CLIPConfig, CLIPImageProcessorPil, SiglipConfig, SiglipImageProcessorPil,
)
from transformers.image_utils import PILImageResampling

CLIP_LARGE = dict(
    text_config=dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12, projection_dim=768, eos_token_id=2),
    vision_config=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14, projection_dim=768),
    projection_dim=768,
)
BLIP_TEXT = dict(vocab_size=30524, num_attention_heads=12, intermediate_size=3072)
SO400M = dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16)

# name -> (config, image processor)
PRESETS = {
    "clip-vit-base-patch32": lambda: (CLIPConfig(text_config=dict(eos_token_id=2)), CLIPImageProcessorPil()),
    "clip-vit-base-patch16": lambda: (CLIPConfig(text_config=dict(eos_token_id=2), vision_config=dict(patch_size=16)), CLIPImageProcessorPil()),
    "clip-vit-large-patch14": lambda: (CLIPConfig(**CLIP_LARGE), CLIPImageProcessorPil()),
    "siglip-base-patch16-224": lambda: (SiglipConfig(), SiglipImageProcessorPil()),
    "siglip-so400m-patch14-384": lambda: (
        SiglipConfig(text_config=SO400M, vision_config=dict(**SO400M, patch_size=14, image_size=384)),
        SiglipImageProcessorPil(size=dict(height=384, width=384)),
    ),
    "siglip2-base-patch16-224": lambda: (
        SiglipConfig(text_config=dict(vocab_size=256000)), SiglipImageProcessorPil(resample=PILImageResampling.BILINEAR),
    ),
    "blip-itm-base": lambda: (BlipConfig(text_config=BLIP_TEXT, vision_config=dict(image_size=384)), BlipImageProcessorPil()),
    "blip-itm-large": lambda: (
        BlipConfig(
            text_config=dict(**BLIP_TEXT, encoder_hidden_size=1024),
            vision_config=dict(image_size=384, hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16),
        ),
        BlipImageProcessorPil(),
    ),
    # LAVIS's `blip2_coco.yaml`: 364 pixels; the vocabulary is BERT's and [DEC].
    "blip2-itm-vit-g-coco": lambda: (
        Blip2Config(vision_config=dict(image_size=364), qformer_config=dict(vocab_size=30523, use_qformer_text_input=True)),
        BlipImageProcessorPil(size=dict(height=364, width=364)),
    ),
}
